"""The command line's way to a remote model: options parted, the reply printed, what it cost said."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from hanlin.core.connect import Budget, Connection, Remote, connect
from hanlin.core.connect.budget import Limits
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError

NOT_THERE = ("search", "engine")
"""Options of a model that runs here."""


def open_remote(address: str, options: Mapping[str, Any]) -> tuple[Remote, dict[str, Any]]:
    """(the model, the options of writing). options: those of Connection, budget.…, and of writing.

    Raises HanlinError for options that only a model here has."""
    for name in NOT_THERE:
        if name in options:
            raise HanlinError(
                f"{address} is somewhere else: it has no {name}.…",
                "options of writing, of the connection, and budget.…",
                f"leave {name}.… out",
                "docs/connect.md#settings",
            )
    limits = build(Limits, options.get("budget", {}), "budget")
    connection = {name: value for name, value in options.items() if name in Connection.model_fields}
    settings = {name: value for name, value in options.items() if name not in connection and name != "budget"}
    return connect(address, budget=Budget(limits.tokens, limits.money, limits.prices), **connection), settings


def print_continuation(address: str, prompt: str, options: Mapping[str, Any]) -> None:
    """The reply to standard output as it comes; then, to standard error, what it cost."""
    model, settings = open_remote(address, options)
    if model.continues:
        print(prompt, end="")
    for piece in model.generate(prompt, **settings):
        print(piece, end="", flush=True)
    print()
    print(model.budget, file=sys.stderr)
