"""Each provider is a file: our request into its own, its stream into our pieces. The file's name is the registry."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Protocol

from hanlin.core.connect.address import Address
from hanlin.core.connect.answer import End, Piece, Usage
from hanlin.core.connect.request import Request
from hanlin.core.run.errors import HanlinError

FILES = {"openai": "openai", "http": "openai", "ollama": "openai", "anthropic": "anthropic", "gemini": "gemini"}
"""Who is spoken to through which file. A file has `SKIPPED`, the settings that it leaves out for each of its providers,
and `Client`."""


class Provider(Protocol):
    """A client at work. Every method raises Failure for what may be asked again, HanlinError for what can't be."""

    def events(self, request: Request) -> Iterator[Piece | End]:
        """The reply as it comes; End is last, and nothing but a Failure keeps it from coming."""
        ...

    def vectors(self, request: Request) -> tuple[list[list[float]], Usage | None]:
        """One vector for each text."""
        ...


def skipped_by(provider: str) -> tuple[str, ...]:
    """Settings that this provider's API doesn't have."""
    return _file(provider).SKIPPED[provider]


def open_provider(address: Address, key: str, timeout_seconds: float) -> Provider:
    """Raises HanlinError when the client package is not installed."""
    try:
        return _file(address.provider).Client(address, key, timeout_seconds)
    except ImportError as error:
        extra = FILES[address.provider]
        raise HanlinError(
            f"{address} needs a package that is not installed ({error}).",
            f"the extra {extra}",
            f'pip install "hanlin[{extra}]"',
            "docs/connect.md",
        ) from None


def _file(provider: str):
    return importlib.import_module(f"{__name__}.{FILES[provider]}")
