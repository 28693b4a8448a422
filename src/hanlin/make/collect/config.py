"""Options of collect."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.run.config import Config


class Collect(Config):
    """What to make of the sources. The sources themselves are inputs: `sources=my_folder/`."""

    rows: Literal["auto", "text", "chat"] = Field(
        "auto",
        description="kind of rows to keep: text (documents), chat (conversations), or auto: the one kind that the "
        "sources hold (the Constitutional Court's files hold both; auto reads their documents)",
    )
    heldout_share: float = Field(
        0.02, ge=0, le=0.5, description="share of document groups kept away from training, to measure on; 0 keeps none"
    )
    heldout: Literal["groups", "end"] = Field(
        "groups",
        description="which share: groups drawn by chance, or the end of all text in the order it is read (a document "
        "across the border is cut there)",
    )
    seed: int = Field(0, description="decides which groups are held out; rows added later never move the others")
    min_chars: int = Field(
        10, ge=0, description="documents with fewer characters are dropped; conversations only have to hold a reply"
    )
    passage_chars: int = Field(
        4000,
        ge=200,
        description="text files are cut into documents of about this many characters, at blank lines where they can",
    )
    limit: int | None = Field(None, ge=1, description="most rows read, the first of the sources. Default: all of them")
