"""`hanlin show cache`: what a model keeps of a prompt, in bytes and blocks, and what the next prompt finds there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.columns import aligned
from hanlin.core.generate.engine import Engine
from hanlin.core.probe.caching import Asked, LayerKind, ask, layer_kinds
from hanlin.core.probe.speculation import alone
from hanlin.shows.prompt import options_of, prompt_ids, title
from hanlin.shows.speculate import Show

RIGHT = frozenset({1, 2, 3, 4, 5})


def show_cache(model: str, text: str, values: Mapping[str, Any], second: str, chat: bool, show: Show) -> None:
    """second: another prompt, asked behind the first; "" for the first half of the same."""
    import hanlin

    sampling, options = options_of(values, {}, "show cache")
    loaded = hanlin.load(model)
    ids = prompt_ids(loaded, text, chat)
    others = {"the same again": ids}
    if second:
        others["the second"] = prompt_ids(loaded, second, chat)
    elif len(ids) > 3:
        others["its first half"] = ids[: len(ids) // 2]
    show([title(loaded, model, text, ids)])
    longest = max(len(prompt) for prompt in (ids, *others.values()))
    room = {"cache_tokens": options.cache_tokens or 2 * (longest + options.block_tokens)}
    engine = Engine(loaded, alone(loaded, ids, sampling, options.model_copy(update=room)))
    show(["", *layer_lines(layer_kinds(engine), len(ids))])
    ask(engine, ids[:1])  # what a first pass costs besides is not the prompt's
    asked = {"this prompt": ask(engine, ids), **{name: ask(engine, prompt) for name, prompt in others.items()}}
    show(["", *asked_lines(asked, options.block_tokens, engine.memory.recurrent)])
    engine.close()


def layer_lines(kinds: Sequence[LayerKind], num_tokens: int) -> list[str]:
    """Bytes of each kind of layer and of all together, and what so many tokens come to."""
    per_token, per_text = (sum(getattr(kind, name) for kind in kinds) for name in ("bytes_per_token", "bytes_per_text"))
    head = ("layers", "", "bytes per token", "bytes whatever the length", f"of {num_tokens:,} tokens")
    rows = [
        (
            kind.name,
            f"× {kind.num_layers}",
            _count(kind.bytes_per_token),
            _count(kind.bytes_per_text),
            f"{kind.bytes_per_token * num_tokens + kind.bytes_per_text:,}",
        )
        for kind in kinds
    ]
    num_layers = sum(kind.num_layers for kind in kinds)
    whole = ("in all", f"× {num_layers}", _count(per_token), _count(per_text), f"{per_token * num_tokens + per_text:,}")
    return aligned([head, *rows, whole], RIGHT)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def asked_lines(asked: Mapping[str, Asked], block_tokens: int, recurrent: bool) -> list[str]:
    """A line a prompt, in the order in which they were asked."""
    head = ("asked", "tokens", "known already", "read", "" if recurrent else "blocks", "first token after")
    rows = [
        (
            name,
            f"{one.num_tokens:,}",
            f"{one.num_shared:,}",
            f"{one.num_tokens - one.num_shared:,}",
            "" if recurrent else f"{one.num_blocks:,}",
            f"{one.seconds * 1000:,.0f} ms",
        )
        for name, one in asked.items()
    ]
    grain = (
        "The state behind a prompt's last token but one is kept: a prompt finds it that begins with all those tokens."
        if recurrent
        else f"A block holds {block_tokens} tokens. A whole one is found by what it holds and what stands before it."
    )
    return [*aligned([head, *rows], RIGHT), "", grain]
