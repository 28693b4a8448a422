"""The scripts that a text can be written in, as ISO 15924 names them where it does."""

from __future__ import annotations

from typing import Literal

Script = Literal["Hant", "Hans", "mixed", "other"]
