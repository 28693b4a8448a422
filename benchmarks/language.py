"""Language identification of short text: share of right answers, beside py3langid and lingua.

    python benchmarks/language.py [--peers PYTHON]

PYTHON is the interpreter of an environment that has `py3langid` and `lingua-language-detector` (it may lack hanlin).
The sentences are those of tests/unit/core/text/language_sentences.tsv, by language: all, and the half that the rules
weren't tuned on. Neither peer knows nan, nor zh-TW from zh-CN (both are counted right as zh); lingua has no yue. One
JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SENTENCES = Path(__file__).resolve().parents[1] / "tests" / "unit" / "core" / "text" / "language_sentences.tsv"
COARSER = {"zh-TW": "zh", "zh-CN": "zh", "no": "nb"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="the Python of the peers' environment")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peer:
        print(json.dumps(measured(PEERS[chosen.peer](), coarse=True)))
        return
    from hanlin.core.run.execute import machine_name
    from hanlin.core.text.language import language_of

    result = {"benchmark": "language", "machine": machine_name(), "hanlin": measured(language_of, coarse=False)}
    for name in PEERS:
        result[name] = peer(name, chosen.peers)
    print(json.dumps(result, ensure_ascii=False))


def measured(ask: Callable[[str], str], coarse: bool) -> dict[str, object]:
    """Right answers of all, per language; of the held-out half; characters per second."""
    rows = [line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines()[1:]]
    ask("先開啟一次。")
    right: dict[str, Counter[str]] = {"all": Counter(), "heldout": Counter()}
    total: dict[str, Counter[str]] = {"all": Counter(), "heldout": Counter()}
    begin = time.perf_counter()
    answers = [ask(text) for *_, text in rows]
    seconds = time.perf_counter() - begin
    for (part, language, _), answer in zip(rows, answers):
        if coarse:
            language, answer = COARSER.get(language, language), COARSER.get(answer, answer)
        for name in {"all", part} & set(right):
            right[name][language] += answer == language
            total[name][language] += 1
    return {
        **{
            name: {language: f"{right[name][language]}/{num}" for language, num in of.items()}
            for name, of in total.items()
        },
        "milliseconds_each": round(1000 * seconds / len(rows), 3),
    }


def peer(name: str, python: str | None) -> dict[str, object] | str:
    """What the peer's own environment prints; why not, where it can't."""
    command = [python or sys.executable, __file__, "--peer", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"not measured: {done.stderr.strip().splitlines()[-1]}"
    return json.loads(done.stdout)


def _py3langid() -> Callable[[str], str]:
    import py3langid

    return lambda text: py3langid.classify(text)[0]


def _lingua() -> Callable[[str], str]:
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().build()

    def ask(text: str) -> str:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "und"

    return ask


PEERS = {"py3langid": _py3langid, "lingua": _lingua}

if __name__ == "__main__":
    main()
