"""The tokens an objective needs besides those of the text. A tokenizer that lacks them is copied and given them, behind
its last id: the ids of texts stay what they are, and so do the token shards."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer, token_text

MASK = "<|mask|>"
SENTINEL = "<extra_id_{}>"
NUM_SENTINELS = 100
"""As many as T5 has."""
MORE = "src/hanlin/make/pretrain/README.md"


def mask_id(tokenizer: Tokenizer) -> int:
    """Raises HanlinError for a tokenizer without a mask token."""
    name = token_text(tokenizer.settings.get("mask_token"))
    if name is None:
        raise HanlinError(
            "The base model's tokenizer names no mask token.",
            "mask_token in tokenizer_config.json, as every BERT has",
            "name it there, or use another base",
            MORE,
        )
    return tokenizer.id_of(name)


def sentinel_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """<extra_id_0>, <extra_id_1>, … as far as they go; mT5 has them as pieces of text. Raises HanlinError for a
    tokenizer without."""
    for prefix in ("", "▁"):
        found: list[int] = []
        while (number := tokenizer.backend.token_to_id(prefix + SENTINEL.format(len(found)))) is not None:
            found.append(number)
        if found:
            return tuple(found)
    raise HanlinError(
        "The base model's tokenizer has no sentinels.",
        f"{SENTINEL.format(0)}, {SENTINEL.format(1)}, … as every T5 has",
        "use another base",
        MORE,
    )


def with_mask(tokenizer: Tokenizer) -> Tokenizer:
    """A mask token, and texts that begin as the model reads them."""
    if token_text(tokenizer.settings.get("mask_token")) is not None:
        return tokenizer
    first = tokenizer.document_id
    return _extended(tokenizer, [MASK], "{}:0 $A:0", first, {"mask_token": MASK})


def with_sentinels(tokenizer: Tokenizer, count: int) -> Tokenizer:
    """At least `count` sentinels, and texts that end as the model reads them."""
    if tokenizer.backend.token_to_id(SENTINEL.format(count - 1)) is not None:
        return tokenizer
    names = [SENTINEL.format(number) for number in range(max(count, NUM_SENTINELS))]
    return _extended(tokenizer, names, "$A:0 {}:0", tokenizer.eos_id, {})


def _extended(tokenizer: Tokenizer, names: Sequence[str], template: str, edge: int, settings: dict) -> Tokenizer:
    """names: the new tokens. template: of a text, with the token `edge`."""
    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    edge_token = backend.id_to_token(edge)
    backend.post_processor = TemplateProcessing(single=template.format(edge_token), special_tokens=[(edge_token, edge)])
    return Tokenizer(backend, {**tokenizer.settings, **settings})
