"""`hanlin keys`: the file of API keys that `hanlin serve … keys=FILE` asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

keys = typer.Typer(no_args_is_help=True, help="API keys of the server: add, list, remove.")
File = Annotated[Path, typer.Argument(metavar="FILE", help="the file of keys", show_default=False)]


class KeyCommand(TyperCommand):
    """`--help` ends with what a key may be limited to."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from hanlin.core.run.config import option_table
        from hanlin.use.serve.access.keys import KeyLimits

        with formatter.section("Options (name=value)"):
            formatter.write_dl([(name, f"{text} [{default}]") for name, default, text in option_table(KeyLimits)])


@keys.command("add", cls=KeyCommand)
def add(
    file: File,
    name: str,
    words: Annotated[list[str] | None, typer.Argument(metavar="[name=value]...", show_default=False)] = None,
) -> None:
    """Make a key and print it: this once, for only its hash is kept. Limits: requests_per_minute=, models= …"""
    from hanlin.core.run.config import build, parse_overrides
    from hanlin.use.serve.access.keys import KeyLimits, add_key

    print(add_key(file, name, build(KeyLimits, parse_overrides(words or []), "keys add")))


@keys.command("list")
def list_keys(file: File) -> None:
    """The keys of a file by name, and what each may do."""
    from hanlin.use.serve.access.keys import KeyLimits, read_keys

    now = datetime.now(UTC)
    for key in read_keys(file):
        limits = key.model_dump(include=set(KeyLimits.model_fields), exclude_defaults=True, exclude={"expires"})
        told = [f"{name}={','.join(value) if name == 'models' else value}" for name, value in limits.items()]
        if key.expires is not None:
            state = "expired" if key.has_expired(now) else "expires"
            told.append(f"{state} {key.expires:%Y-%m-%d %H:%M}")
        print(f"{key.name:20} {key.id}  made {key.created:%Y-%m-%d}  {' '.join(told) or 'no limits'}")


@keys.command("remove")
def remove(file: File, name: str) -> None:
    """A running server refuses the key from its next request on."""
    from hanlin.use.serve.access.keys import remove_key

    remove_key(file, name)
    print(f"removed: {name}")
