"""Which characters of a text are quoted: code between backticks and in fences, and what stands in 「」『』“” or "".

Read character by character, so that what is quoted can be passed on at once. An opening mark that is never closed
quotes no more than its line (` and ") or its paragraph (「『“); a fence, as everywhere, what is left of the text.
"""

from __future__ import annotations

QUOTES = {"「": "」", "『": "』", "“": "”", '"': '"'}

CODE, FENCE = "code", "fence"


class Quoted:
    """inside: "" outside of quotes, the mark that closes the present one, CODE or FENCE."""

    def __init__(self) -> None:
        self.inside = ""
        self._depth = 0
        self._ticks = 0
        self._opening_ticks = 0
        self._in_opening_line = False
        self._line_is_blank = True
        self._previous = ""

    def push(self, character: str) -> bool:
        """Whether it is quoted, or a mark that quotes."""
        if character == "`":
            self._ticks += 1
            return True
        if self._ticks:
            self._end_ticks()
        if character == "\n":
            self._end_line()
        elif not character.isspace():
            self._line_is_blank = False
        was_inside = bool(self.inside)
        self._mark(character)
        self._previous = character
        return was_inside or bool(self.inside)

    def _mark(self, character: str) -> None:
        if self.inside in (CODE, FENCE):
            return
        if self.inside:
            self._depth += -1 if character == self.inside else QUOTES.get(character) == self.inside
            if not self._depth:
                self.inside = ""
        # 27" is no quotation.
        elif character in QUOTES and not (character == '"' and self._previous.isdigit()):
            self.inside, self._depth = QUOTES[character], 1

    def _end_ticks(self) -> None:
        """As CommonMark reads them: as many as opened the code close it; three or more at a line's start are a fence,
        unless the line has others."""
        count, self._ticks = self._ticks, 0
        if not self.inside:
            fence = self._line_is_blank and count >= 3
            self.inside, self._opening_ticks, self._in_opening_line = FENCE if fence else CODE, count, True
            self._line_is_blank = False
            return
        if self.inside == FENCE and self._in_opening_line:
            self.inside = CODE
        closes_code = self.inside == CODE and count == self._opening_ticks
        closes_fence = self.inside == FENCE and self._line_is_blank and count >= self._opening_ticks
        if closes_code or closes_fence:
            self.inside = ""
        self._line_is_blank = False

    def _end_line(self) -> None:
        in_line = self.inside in (CODE, '"')
        in_paragraph = self.inside in ("」", "』", "”")
        if in_line or (in_paragraph and self._line_is_blank):
            self.inside = ""
        self._in_opening_line, self._line_is_blank = False, True
