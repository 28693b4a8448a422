"""`hanlin show sampling`: how the next token is chosen, step by step, as a table of the likeliest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hanlin.columns import aligned, cut
from hanlin.core.generate.sampling import Sampling
from hanlin.core.probe.choosing import Choice, choose
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.curves import Ink
from hanlin.shows.prompt import options_of, prompt_ids, shown, title
from hanlin.shows.speculate import STOOD, Show

NAMES = {"": "model", "repetition_penalty": "repetition", "no_repeat_ngram": "no repeat", "dry_multiplier": "DRY"}
FORMS = ("json_schema", "regex", "grammar", "choices", "script")
LONGEST_TOKEN, BAR = 16, 24
EIGHTHS = " ▏▎▍▌▋▊▉█"


def show_sampling(
    model: str, text: str, values: Mapping[str, Any], num_rows: int, chat: bool, show: Show, ink: Ink
) -> None:
    import hanlin

    sampling, _ = options_of(values, {"seed": 0}, "show sampling")
    loaded = hanlin.load(model)
    ids = prompt_ids(loaded, text, chat)
    choice = choose(loaded, ids, sampling)
    show([title(loaded, model, text, ids), "", *table(choice, sampling, loaded.tokenizer, num_rows, ink)])


def table(choice: Choice, sampling: Sampling, tokenizer: Tokenizer, num_rows: int, ink: Ink) -> list[str]:
    """A row for each of the model's likeliest tokens, for those that are likeliest in the end, and for the drawn one; a
    column for each step. "·" where a token can't come any more."""
    steps = choice.steps
    head = ["", "token", *(heading(step.name, sampling) for step in steps), ""]
    rows = []
    for token in _rows(choice, num_rows):
        shares = [float(step.probabilities_V[token]) for step in steps]
        mark = ("▸" if ink.unicode else ">") if token == choice.token else ""
        rows.append([mark, cut(shown(tokenizer, token), LONGEST_TOKEN), *map(percent, shares), bar(shares[-1], ink)])
    left = ["", "tokens left", *(f"{step.num_left:,}" for step in steps), ""]
    bits = ["", "bits", *(f"{step.bits:.2f}" for step in steps), ""]
    lines = aligned([head, *rows, [""] * len(head), left, bits], frozenset(range(2, 2 + len(steps))))
    drawn = next(place for place, row in enumerate(rows, start=1) if row[0])
    lines[drawn] = ink.paint(lines[drawn], STOOD)
    return lines


def _rows(choice: Choice, count: int) -> list[int]:
    """Token ids, the model's likeliest first."""
    first, last = choice.steps[0].probabilities_V, choice.steps[-1].probabilities_V
    tops = [p_V.topk(min(number, len(p_V))).indices.tolist() for p_V, number in ((first, count), (last, count // 2))]
    possible = {token for token in tops[1] if last[token] > 0}
    return sorted({*tops[0], *possible, choice.token}, key=lambda token: -float(first[token]))


def heading(step: str, sampling: Sampling) -> str:
    """temperature 0.8 · top-p 0.95"""
    if step in FORMS:
        return step
    name = NAMES.get(step, step.removesuffix("_p") if step == "typical_p" else step.replace("_", "-"))
    return f"{name} {getattr(sampling, step):g}" if step else name


def percent(share: float) -> str:
    if not share:
        return "·"
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def bar(share: float, ink: Ink) -> str:
    """BAR columns are all of it."""
    if not ink.unicode:
        return "#" * round(share * BAR)
    whole, part = divmod(round(share * BAR * 8), 8)
    return ("█" * whole + EIGHTHS[part]).rstrip()
