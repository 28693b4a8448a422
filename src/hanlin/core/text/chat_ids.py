"""Rendered text → token ids, with the places of prompts and replies among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hanlin.core.text.spelling import Breaker
from hanlin.core.text.tokenizer import Tokenizer


def encode_cut(text: str, cuts: Sequence[int], tokenizer: Tokenizer, breaker: Breaker) -> tuple[list[int], list[int]]:
    """Ids of `text`, and how many of them stand before each of the (ascending) character places `cuts`.

    Special tokens in `text` become their ids; what messages spelled (see `Breaker`) stays text. The ids before a cut
    are those of the text before it: what a model is asked is the beginning of what it was trained on. So where the
    tokenizer would make one token of the prompt's last letter and the reply's first, the text is cut between them.
    Elsewhere the ids are those of the text encoded as a whole.
    """
    ids: list[int] = []
    places: list[int] = []
    encoder = _Encoder(tokenizer, breaker)
    for start, raw, plain, special in _sections(text, tokenizer):
        here = [cut for cut in cuts[len(places) :] if cut <= start + len(raw)]
        lead = raw.find(plain)
        inner = [min(max(cut - start - lead, 0), len(plain)) for cut in here]
        new, found = encoder.section(plain, inner, at_start=not start)
        places += [len(ids) + place for place in found]
        ids += new
        if special:
            ids.append(tokenizer.id_of(special))
    return ids, places


def _sections(text: str, tokenizer: Tokenizer) -> Iterator[tuple[int, str, str, str]]:
    """(start, text up to the next special token, the same without the spaces its neighbours take in, that token)."""
    pieces = tokenizer.split_special(text)
    start = 0
    for place in range(0, len(pieces), 2):
        special = "".join(pieces[place + 1 : place + 2])
        end = text.index(special, start) if special else len(text)
        yield start, text[start:end], pieces[place], special
        start = end + len(special)


class _Encoder:
    def __init__(self, tokenizer: Tokenizer, breaker: Breaker):
        self._tokenizer, self._breaker = tokenizer, breaker

    def section(self, text: str, cuts: Sequence[int], at_start: bool) -> tuple[list[int], list[int]]:
        """Ids of a text between two special tokens, and the ids before each cut."""
        done: list[int] = []  # ids before `base`, fixed by a cut inside a token
        ids: list[int] = []  # ids from `base` to `last`
        base = last = 0
        places = []
        for cut in (*cuts, len(text)):
            if cut > last:
                new = self._ids(text[base:cut], at_start) if not base else self._continued(text[base:cut])
                if new[: len(ids)] != ids:
                    done, base = done + ids, last
                    new = self._continued(text[base:cut])
                ids, last = new, cut
            places.append(len(done) + len(ids))
        return done + ids, places[:-1]

    def _ids(self, text: str, at_start: bool) -> list[int]:
        if not self._breaker.is_broken(text):
            return self._tokenizer.encode(text, at_start=at_start)
        first, *others = self._breaker.mended(text)
        ids = self._tokenizer.encode(first, at_start=at_start)
        return ids + [token for other in others for token in self._continued(other)]

    def _continued(self, text: str) -> list[int]:
        """Ids of what follows inside a text: without the space some tokenizers put before every text."""
        if self._breaker.is_broken(text):
            return [token for part in self._breaker.mended(text) for token in self._continued(part)]
        line_end, with_line_end = (self._tokenizer.encode(t, at_start=False) for t in ("\n", "\n" + text))
        if self._puts_space and with_line_end[: len(line_end)] == line_end:
            return with_line_end[len(line_end) :]
        return self._tokenizer.encode(text, at_start=False)

    @property
    def _puts_space(self) -> bool:
        alone, line_end, after = (self._tokenizer.encode(t, at_start=False) for t in ("a", "\n", "\na"))
        return after[len(line_end) :] != alone
