"""`hanlin show speculate`: a reply written pass by pass, with what was guessed for each and what of it stood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hanlin.columns import display_width, pad
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.probe.speculation import Pass, Writing, watch
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.curves import FAINT, Ink
from hanlin.shows.prompt import options_of, prompt_ids, shown, title

DEFAULTS = {"temperature": 0, "repetition_penalty": 1, "max_tokens": 48, "seed": 0}
"""Greedy, so that the reply with guesses can be laid beside the one without."""

STOOD, REFUSED = "1;32", "31"

GUESSERS = {
    "lookup": "what followed the last words where they stood before",
    "early": "by the model's own first layers",
    "draft": "by a small model",
}

Show = Callable[[Sequence[str]], None]


def show_speculate(model: str, text: str, values: Mapping[str, Any], chat: bool, show: Show, ink: Ink) -> None:
    """`show` is called with the lines of one part after the other, as they are known."""
    import hanlin

    sampling, engine = options_of(values, DEFAULTS, "show speculate")
    loaded = hanlin.load(model)
    ids = prompt_ids(loaded, text, chat)
    show([title(loaded, model, text, ids)])
    plain = watch(loaded, ids, sampling, engine.model_copy(update={"speculate": ""}))
    show([_sum_line(plain, "without guesses")])
    for name in _guessers(engine, len(loaded.model.layers)):
        writing = watch(loaded, ids, sampling, engine.model_copy(update={"speculate": name}))
        show(["", *_lines(name, writing, plain, loaded, sampling, ink)])


def _guessers(engine: EngineOptions, num_layers: int) -> Iterator[str]:
    """The one that is asked for; else all that this model can have."""
    if engine.speculate:
        yield engine.speculate
        return
    yield "lookup"
    if num_layers > 1:
        yield "early"
    if engine.draft:
        yield "draft"


def _lines(
    name: str, writing: Writing, plain: Writing, loaded: Pretrained, sampling: Sampling, ink: Ink
) -> Iterator[str]:
    yield f"engine.speculate={name}: {GUESSERS[name]}"
    yield from pass_lines(writing.passes, loaded.tokenizer, ink)
    yield ""
    yield _sum_line(writing, name)
    saved, same = len(plain.passes) - len(writing.passes), _same(writing, plain, sampling)
    faster = f", {plain.seconds / writing.seconds:.2f} × the speed" if writing.seconds else ""
    yield f"{saved} of {len(plain.passes)} passes saved{faster}; {same}"


def _sum_line(writing: Writing, name: str) -> str:
    tokens, passes, guessed, stood = len(writing.tokens), len(writing.passes), writing.num_guessed, writing.num_stood
    share = f"; {stood} of {guessed} guesses stood ({stood / guessed:.0%})" if guessed else ""
    return f"{name}: {tokens} tokens in {passes} passes ({tokens / passes:.2f} a pass){share}; {writing.seconds:.2f} s"


def _same(writing: Writing, plain: Writing, sampling: Sampling) -> str:
    if writing.tokens == plain.tokens:
        return "the same text"
    return "another text" if sampling.is_greedy else "another text, drawn from the same distribution"


def pass_lines(passes: Sequence[Pass], tokenizer: Tokenizer, ink: Ink) -> list[str]:
    """A line for each pass: the guesses, those that stood green (in 【】 where there are no colours), those that didn't
    red; then the token the model put behind them."""
    bar = "│" if ink.unicode else "|"
    rows = []
    for one in passes:
        parts = [(shown(tokenizer, token), place < one.num_stood) for place, token in enumerate(one.guessed)]
        plain = bar.join(f"【{text}】" if stood and not ink.colours else text for text, stood in parts)
        painted = bar.join(ink.paint(text, STOOD if stood else REFUSED) for text, stood in parts)
        own = "".join(shown(tokenizer, token) for token in one.written[one.num_stood :])
        rows.append((plain, painted if ink.colours else plain, own))
    width = max([len("guessed"), *(display_width(plain) for plain, _, _ in rows)])
    lines = [ink.paint(f"pass  {pad('guessed', width)}  the model's own", FAINT)]
    for number, (plain, painted, own) in enumerate(rows, start=1):
        lines.append(f"{number:4}  {painted}{' ' * (width - display_width(plain))}  {own}".rstrip())
    return lines
