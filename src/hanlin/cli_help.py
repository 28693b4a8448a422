"""What `--help` says of options that no signature lists: read from the config models they belong to."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from hanlin.rooms import ROOMS


class RoomCommand(TyperCommand):
    """A room's command: `--help` ends with its options, read from the room's config model."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from hanlin.core.run.config import option_table

        room = ROOMS[self.name or ""]
        with formatter.section("Inputs"):
            formatter.write_dl(
                [
                    (f"{n}=", " or ".join(k) + (" (optional)" if n in room.optional else ""))
                    for n, k in room.inputs.items()
                ]
            )
        with formatter.section("Options (name=value)"):
            formatter.write_dl(
                [(name, f"{text} [{default}]") for name, default, text in option_table(room.config_class)]
            )


class WritingCommand(TyperCommand):
    """A command whose model writes: `--help` ends with what its options may be, read from the engine's own models."""

    searches = False

    def own_tables(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """Titles and options that stand before those of writing."""
        return []

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from hanlin.core.generate.options import EngineOptions
        from hanlin.core.generate.sampling import Sampling
        from hanlin.core.generate.search import Search
        from hanlin.core.run.config import option_table

        tables = [*self.own_tables(), ("Options (name=value)", option_table(Sampling))]
        if self.searches:
            tables.append(("Instead of drawing token by token", option_table(Search, "search.")))
        tables.append(("The engine", option_table(EngineOptions, "engine.")))
        for title, rows in tables:
            with formatter.section(title):
                formatter.write_dl([(name, f"{text} [{default}]") for name, default, text in rows])


class SearchingCommand(WritingCommand):
    searches = True


class ChattingCommand(WritingCommand):
    def own_tables(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        from hanlin.conversation.options import Chat
        from hanlin.core.run.config import option_table

        return [("The conversation", option_table(Chat))]


class DataCommand(TyperCommand):
    """`hanlin show data`: `--help` ends with its options."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from hanlin.core.run.config import option_table
        from hanlin.shows.data import Data

        with formatter.section("Options (name=value)"):
            formatter.write_dl([(name, f"{text} [{default}]") for name, default, text in option_table(Data)])


class ServingCommand(TyperCommand):
    """The server's command: `--help` ends with its options."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from hanlin.core.run.config import option_table
        from hanlin.use.serve.config import Serve

        with formatter.section("Options (name=value)"):
            formatter.write_dl([(name, f"{text} [{default}]") for name, default, text in option_table(Serve)])
