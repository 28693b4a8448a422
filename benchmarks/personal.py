"""Personal data: precision and recall on made-up documents, and megabytes a second.

    python benchmarks/personal.py [--documents 4000] [--text FILE]

Prints one JSON line. Two sets: `tuning`, whose templates recognisers may be fitted to, and `heldout`, whose
templates use other labels and sentences. A match counts if its kind is right and it and the true span share at
least 80 % of their characters. --text: a file of real text on which the speed is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from made.values import VALUES, People, near_misses

from hanlin.core.run.execute import machine_name
from hanlin.core.text.personal.recognise import find

_SLOT = re.compile(r"\{(?P<kind>[a-z_]+)\}|\[(?P<near>[a-z_0-9]+)\]")
_SHARED = 0.8

Span = tuple[str, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=4000, help="made-up documents of each set")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--text", type=Path, help="a text file whose megabytes a second are measured")
    parser.add_argument("--errors", type=int, default=0, help="print this many mistakes of the tuning set, to stderr")
    options = parser.parse_args()
    result: dict[str, object] = {
        "benchmark": "personal",
        "machine": machine_name(),
        "cpus": os.cpu_count(),
        "documents": options.documents,
    }
    for name in ("tuning", "heldout"):
        made = documents(templates(name), options.documents, options.seed)
        began = time.process_time()
        found = [[(match.kind, match.start, match.end) for match in find(text)] for text, _ in made]
        seconds = time.process_time() - began
        result[name] = scores(made, found)
        result[f"{name}_megabytes_a_second"] = rate([text for text, _ in made], seconds)
        if name == "tuning":
            show_errors(made, found, options.errors)
    if options.text:
        text = options.text.read_text(encoding="utf-8")
        pieces = [text[start : start + 4000] for start in range(0, len(text), 4000)]
        began = time.process_time()
        for piece in pieces:
            find(piece)
        result["text_megabytes_a_second"] = rate(pieces, time.process_time() - began)
    print(json.dumps(result, ensure_ascii=False))


def templates(name: str) -> dict[str, list[str]]:
    """Documents by their sort, with slots to fill."""
    return yaml.safe_load((Path(__file__).parent / "made" / f"{name}.yaml").read_text(encoding="utf-8"))


def documents(texts: dict[str, list[str]], count: int, seed: int) -> list[tuple[str, list[Span]]]:
    """Texts with the spans that are personal in them."""
    r = random.Random(seed)
    people = People(seed)
    makers = {**VALUES, "name": people.name, "email": people.email}
    every = [template for group in texts.values() for template in group]
    return [filled(every[number % len(every)], makers, r) for number in range(count)]


def filled(template: str, makers: dict, r: random.Random) -> tuple[str, list[Span]]:
    near = near_misses(r)
    text, spans, end = "", [], 0
    for slot in _SLOT.finditer(template):
        text += template[end : slot.start()]
        end = slot.end()
        if slot["near"]:
            text += near.get(slot["near"], slot[0])
            continue
        value = makers[slot["kind"]](r)
        spans.append((slot["kind"], len(text), len(text) + len(value)))
        text += value
    text += template[end:]
    return text, spans + titled(text, spans)


def titled(text: str, spans: list[Span]) -> list[Span]:
    """The names that templates spell out (王太太), which are names too."""
    taken = {place for _, start, stop in spans for place in range(start, stop)}
    found = re.finditer("(?:(?<=[\n，])|^)[陳林王](?=先生|小姐|太太)|LIN, TAI-SHENG", text)
    return [("name", hit.start(), hit.end()) for hit in found if hit.start() not in taken]


def same(a: Span, b: Span) -> bool:
    shared = min(a[2], b[2]) - max(a[1], b[1])
    return a[0] == b[0] and shared >= _SHARED * (max(a[2], b[2]) - min(a[1], b[1]))


def scores(made: list[tuple[str, list[Span]]], found: list[list[Span]]) -> dict[str, dict[str, float]]:
    """Precision and recall of each kind."""
    true, right, claimed, good = Counter(), Counter(), Counter(), Counter()
    for (_, spans), matches in zip(made, found):
        for span in spans:
            true[span[0]] += 1
            right[span[0]] += any(same(span, match) for match in matches)
        for match in matches:
            claimed[match[0]] += 1
            good[match[0]] += any(same(span, match) for span in spans)
    return {
        kind: {
            "precision": round(good[kind] / claimed[kind], 4) if claimed[kind] else None,
            "recall": round(right[kind] / true[kind], 4) if true[kind] else None,
            "number": true[kind],
        }
        for kind in sorted({*true, *claimed})
    }


def rate(texts: list[str], seconds: float) -> float:
    return round(sum(len(text.encode()) for text in texts) / seconds / 1e6, 2)


def show_errors(made: list[tuple[str, list[Span]]], found: list[list[Span]], most: int) -> None:
    for (text, spans), matches in zip(made, found):
        missed = [("missed", *span) for span in spans if not any(same(span, match) for match in matches)]
        wrong = [("wrong", *match) for match in matches if not any(same(span, match) for span in spans)]
        for what, kind, start, end in missed + wrong:
            if most <= 0:
                return
            most -= 1
            around = f"{text[max(0, start - 12) : start]}【{text[start:end]}】{text[end : end + 10]}"
            print(what, kind, around.replace("\n", "⏎"), file=sys.stderr)


if __name__ == "__main__":
    main()
