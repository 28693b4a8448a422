"""Cutting text into pieces before BPE. Merges never cross a cut, so the patterns are part of the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

from hanlin.core.run.errors import HanlinError

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_MARKS_AND_SPACES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")
_CASED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""English contractions, words with their space, numbers, punctuation, spaces."""

QWEN2_PATTERN = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_MARKS_AND_SPACES}"
"""English contractions, words, single digits, punctuation, line ends, spaces. llama.cpp knows it as "qwen2"."""

LLAMA3_PATTERN = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_MARKS_AND_SPACES}"
"""The same with up to three digits together; OpenAI's cl100k_base too."""

O200K_PATTERN = rf"{_CASED[0]}{_CONTRACTION}?|{_CASED[1]}{_CONTRACTION}?|\p{{N}}{{1,3}}|{_CASED_REST}"
"""OpenAI's o200k_base: a word is cut where small letters are followed by a capital."""

TEKKEN_PATTERN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_CASED_REST}"
"""Mistral's: the same without contractions, single digits."""

SINGLE_DIGITS = r"\p{N}"

_QWEN35_PATTERN = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK3_PATTERNS = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_FALCON_PATTERNS = (r"[\p{P}\$\+<=>\^~\|`]+", GPT2_PATTERN, "[0-9][0-9][0-9]")
_DEFAULT_PATTERNS = (r"[\p{P}\$\+<=>\^~\|]+", GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]")
_SEED_PATTERN = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1}}"
    r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Cut:
    """patterns: each cuts what the one before left whole. whole_first: a piece that is a token is taken as such, before
    any merge (`ignore_merges`)."""

    patterns: tuple[str, ...]
    whole_first: bool = False


GGML_CUTS = {
    "qwen2": Cut((QWEN2_PATTERN,)),
    "llama-bpe": Cut((LLAMA3_PATTERN,), whole_first=True),
    "dbrx": Cut((LLAMA3_PATTERN,)),
    "gpt-2": Cut((GPT2_PATTERN,)),
    "smollm": Cut((SINGLE_DIGITS, GPT2_PATTERN)),
    "gpt-4o": Cut((O200K_PATTERN,)),
    "tekken": Cut((TEKKEN_PATTERN,), whole_first=True),
    "qwen35": Cut((_QWEN35_PATTERN,)),
    "deepseek-v3": Cut(_DEEPSEEK3_PATTERNS),
    "seed-coder": Cut((_SEED_PATTERN,)),
    "falcon": Cut(_FALCON_PATTERNS),
    "default": Cut(_DEFAULT_PATTERNS),
}
"""What llama.cpp implements, by its name there (`tokenizer.ggml.pre`). A file can't bring its own pattern."""

APPROXIMATE = frozenset({"gpt-4o", "tekken"})
"""Read, not written: here llama.cpp leaves combining marks out of words (Taiwanese "hō͘-lâm") and knows the case of
ASCII letters alone."""

_ALIASES = {
    "qwen2": "stablelm2 hunyuan solar-open megrez deepseek-r1-qwen kormo f2llmv2 grok-2",
    "llama-bpe": "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    "dbrx": "smaug-bpe glm4 chatglm-bpe",
    "gpt-2": "phi-2 mpt olmo jais trillion granite-docling exaone4 modern-bert gigachat mellum a.x-4.0 roberta-bpe"
    " jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code",
    "smollm": "starcoder refact command-r codeshell exaone minerva-7b mellum2",
    "gpt-4o": "llama4 kanana2 talkie minimax-m2",
    "deepseek-v3": "hunyuan-dense joyai-llm hy_v4",
}
GGML_NAMES = {name: name for name in GGML_CUTS} | {
    alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()
}
"""Every name a GGUF file may carry → the name above under which the same cuts stand."""


def new_backend() -> Tokenizer:
    """An empty byte-level BPE that cuts as "qwen2". No normaliser; every byte has a symbol, so nothing is unknown."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = cutter(GGML_CUTS["qwen2"].patterns)
    backend.decoder = decoders.ByteLevel()
    return backend


def cutter(patterns: tuple[str, ...]) -> PreTokenizer:
    """The pre-tokenizer that cuts by these patterns and then spells bytes."""
    steps: list[PreTokenizer] = [
        Digits(individual_digits=True) if pattern == SINGLE_DIGITS else Split(Regex(pattern), "isolated")
        for pattern in patterns
    ]
    return Sequence([*steps, ByteLevel(add_prefix_space=False, use_regex=False)])


def ggml_pre(tokenizer: Tokenizer, name: str | None = None) -> str:
    """The name under which llama.cpp's pre-tokenizer cuts as this tokenizer does: `name`, where it is one, else the
    first in `GGML_CUTS`. Raises HanlinError where there is none."""
    cut = cut_of(tokenizer)
    fitting = [known for known, place in GGML_NAMES.items() if cut == GGML_CUTS[place] and place not in APPROXIMATE]
    if not fitting or (name is not None and name not in fitting):
        exact = [known for known in GGML_CUTS if known not in APPROXIMATE]
        wanted = f'"{name}"' if name is not None else "every one"
        raise HanlinError(
            f"The tokenizer does not cut text as llama.cpp's {wanted} does, so its ids would differ there.",
            f"cuts as of {', '.join(exact)}, then bytes, without another normaliser",
            "use a tokenizer of hanlin tokenize, or that of a model llama.cpp knows",
            "src/hanlin/shape/quantize/README.md",
        )
    return name or fitting[0]


def cut_of(tokenizer: Tokenizer) -> Cut | None:
    """How a byte-level BPE cuts; None where it is none, or does more to the text than cut it."""
    model = tokenizer.model
    # llama.cpp has no NFC: Qwen's own tokenizers carry it and are exported without by everyone.
    plain = all(step["type"] == "NFC" for step in _flat(tokenizer.normalizer, "normalizers"))
    steps = list(_flat(tokenizer.pre_tokenizer, "pretokenizers"))
    if not plain or not steps or not isinstance(model, models.BPE) or steps[-1]["type"] != "ByteLevel":
        return None
    patterns = [_pattern(step) for step in steps[:-1]]
    if steps[-1]["use_regex"]:
        patterns.append(GPT2_PATTERN)
    if steps[-1]["add_prefix_space"] or None in patterns:
        return None
    return Cut(tuple(filter(None, patterns)), whole_first=bool(model.ignore_merges))


def _pattern(step: dict[str, Any]) -> str | None:
    if step["type"] == "Digits":
        return SINGLE_DIGITS if step["individual_digits"] else None
    isolated = step["type"] == "Split" and (step["behavior"], step["invert"]) in (
        ("Isolated", False),
        ("Removed", True),
    )
    pattern = step["pattern"].get("Regex") if isolated else None
    return pattern and pattern.replace("\r", r"\r").replace("\n", r"\n")  # DeepSeek's file has them as such


def _flat(part: Any, key: str) -> Iterator[dict[str, Any]]:
    """The steps of a normaliser or pre-tokenizer, sequences opened."""

    def opened(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if step["type"] != "Sequence":
            yield step
        for inner in step.get(key, ()):
            yield from opened(inner)

    if part is not None:
        yield from opened(json.loads(part.__getstate__()))
