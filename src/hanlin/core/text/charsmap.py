"""SentencePiece's precompiled character map (NFKC and its own additions) as normalisers of the `tokenizers` library.

The map is a Darts double array over UTF-8 bytes, its values places in a list of texts; SentencePiece takes the longest
match. The library's `Precompiled` asks for one grapheme of under six bytes, drops what follows a shorter match inside
it ("å̈" loses its dots, "\\r\\n" one of two spaces), and looks up the rest character by character. So graphemes are
taken apart first, and what the map's rules of several characters do, composing, is left to NFC, where they agree.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import NoReturn

import numpy as np
from tokenizers import Regex, normalizers

from hanlin.core.run.errors import HanlinError

APART, BLOCK = "\U000e0ffe", "\U000e0fff"
"""Unassigned, and a boundary of graphemes. APART is taken out before NFC composes, BLOCK after it."""

JOINING = r"(?m)(?<=.)(?=[\p{M}\p{Cf}\p{Lm}\p{Sk}\x{0e33}\x{0eb3}\n])"
"""Before each character that may belong to the grapheme of the one in front."""

LONGEST_RULE_BYTES, MOST_PATHS, MAX_OWN_RULES = 64, 2_000_000, 32


def normalizers_of(charsmap: bytes, name: str) -> list[normalizers.Normalizer]:
    """The map's steps. Raises HanlinError for bytes that are no such map.

    Not reached, where there are more than `MAX_OWN_RULES`: rules of several characters that NFC does not give (case
    folding has 800, for Greek letters with iota).
    """
    rules = read_rules(charsmap, name)
    singles = {source: target for source, target in rules.items() if len(source) == 1}
    several = {source: target for source, target in rules.items() if len(source) > 1}

    def composed(source: str) -> str:
        return unicodedata.normalize("NFC", "".join(singles.get(letter, letter) for letter in source))

    own = {source: target for source, target in several.items() if composed(source) != target}
    steps: list[normalizers.Normalizer] = []
    if len(own) <= MAX_OWN_RULES:
        steps += [normalizers.Replace(source, own[source]) for source in sorted(own, key=len, reverse=True)]
    if len(own) < len(several):
        steps.append(normalizers.Replace(Regex(_unwanted(singles, several)), BLOCK))
    steps += [
        normalizers.Replace(Regex(JOINING), APART),
        normalizers.Precompiled(charsmap),
        normalizers.Replace(APART, ""),
    ]
    if len(own) < len(several):
        steps += [normalizers.NFC(), normalizers.Replace(BLOCK, "")]
    return steps


def read_rules(charsmap: bytes, name: str) -> dict[str, str]:
    """Every text the map replaces, with its replacement. The whole array is walked, so what passes here can't lead the
    library out of it."""
    array = _Array(charsmap, name)
    nodes, sources = np.zeros(1, np.int64), np.zeros((1, 0), np.uint8)
    rules: dict[str, str] = {}
    num_paths = 0
    while len(nodes):
        counts = array.starts[nodes + 1] - array.starts[nodes]
        num_paths += int(counts.sum())
        if num_paths > MOST_PATHS or sources.shape[1] > LONGEST_RULE_BYTES:
            _refuse(name, "has no end")
        rows = np.repeat(np.arange(len(nodes)), counts)
        edges = np.repeat(array.starts[nodes] - np.cumsum(counts) + counts, counts) + np.arange(len(rows))
        sources = np.concatenate([sources[rows], array.letters[edges][:, None]], axis=1)
        nodes = array.children[edges]
        for end in np.nonzero(array.values[nodes] >= 0)[0]:
            rules[_text(sources[end].tobytes(), name)] = array.target(int(array.values[nodes[end]]))
    return rules


class _Array:
    """The reachable nodes of the double array.

    Edges of node n: letters[i] → children[i] for starts[n] ≤ i < starts[n + 1]. values[n]: the place of its
    replacement, or -1.
    """

    def __init__(self, charsmap: bytes, name: str):
        self.name = name
        size = int.from_bytes(charsmap[:4], "little")
        if len(charsmap) < 4 + size or size % 4 or not size:
            _refuse(name, "is cut off")
        units = np.frombuffer(charsmap[4 : 4 + size], "<u4").astype(np.int64)
        self.texts = charsmap[4 + size :]
        self._known: dict[int, str] = {}
        offsets = (units >> 10) << ((units & 0x200) >> 6)
        labels, has_value, values = units & 0x800000FF, (units >> 8) & 1 == 1, units & 0x7FFFFFFF
        numbers = {int(offsets[0]): 0}  # place in the array → number of the node
        pending, found = [int(offsets[0])], [-1]
        starts, letters, children = [0], [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
        alphabet = np.arange(1, 256)
        for base in pending:  # grows while it is walked
            if base | 0xFF >= len(units):
                _refuse(name, "leads out of its array")
            places = base ^ alphabet
            edges = np.nonzero(labels[places] == alphabet)[0]
            targets = []
            for place in places[edges].tolist():
                target = int(place ^ offsets[place])
                if target not in numbers:
                    if target >= len(units):
                        _refuse(name, "leads out of its array")
                    numbers[target] = len(pending)
                    pending.append(target)
                    found.append(int(values[target]) if has_value[place] else -1)
                targets.append(numbers[target])
            letters.append(alphabet[edges].astype(np.uint8))
            children.append(np.array(targets, np.int64))
            starts.append(starts[-1] + len(edges))
        self.starts, self.values = np.array(starts), np.array(found)
        self.letters, self.children = np.concatenate(letters), np.concatenate(children)

    def target(self, place: int) -> str:
        if place not in self._known:
            end = self.texts.find(b"\0", place)
            if end < 0:
                _refuse(self.name, "has a value outside its texts")
            self._known[place] = _text(self.texts[place:end], self.name)
        return self._known[place]


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        _refuse(name, "holds bytes that are no text")


def _unwanted(singles: dict[str, str], several: dict[str, str]) -> str:
    """Where NFC would compose or sort and the map does not: between "ü" and a macron, for it knows u, dots and macron
    only; and between marks that follow each other in none of its rules. What a mark is tells what the map makes of a
    character: Japanese half-width "ﾞ" becomes one."""
    split_pairs = {pair for pair in compositions() if "".join(pair) not in several}
    marks_in_rules = {pair for source in several for pair in pairwise(source[1:])}
    places = [f"(?<={first})(?={second})" for first, second in _by_second(split_pairs)]
    allowed = "|".join(f"(?<={first}){second}" for first, second in _by_second(marks_in_rules))
    composing = {source[0] for source in several}
    become_marks = {letter for letter, target in singles.items() if target and unicodedata.combining(target[0])}
    end_in_marks = {letter for letter, target in singles.items() if target and unicodedata.combining(target[-1])}
    first = re.escape("".join(sorted(end_in_marks - composing | become_marks)))
    second = re.escape("".join(sorted(become_marks)))
    return "|".join([*places, rf"(?<=[\p{{M}}{first}])(?=[\p{{M}}{second}])(?!{allowed or '(?!)'})"])


def _by_second(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """(class of the first characters, the second one) as parts of a regular expression."""
    firsts: dict[str, list[str]] = {}
    for first, second in sorted(pairs):
        firsts.setdefault(second, []).append(first)
    return [(f"[{re.escape(''.join(found))}]", re.escape(second)) for second, found in firsts.items()]


@lru_cache(maxsize=1)
def compositions() -> list[tuple[str, str]]:
    """Pairs of characters NFC makes one of, Hangul syllables aside."""
    found = []
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = chr(int(parts[0], 16)), chr(int(parts[1], 16))
            if unicodedata.normalize("NFC", "".join(pair)) == chr(code):
                found.append(pair)
    return found


def _refuse(name: str, cause: str) -> NoReturn:
    raise HanlinError(
        f"{name}: its character map {cause}.",
        "a precompiled_charsmap as SentencePiece's trainer writes it",
        "take the model's tokenizer.json instead",
        "docs/models.md",
    )
