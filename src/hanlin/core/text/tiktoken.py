"""OpenAI's rank files (tiktoken) as the equal `tokenizers` backend; Llama 3's and Qwen's are of the same form.

A file has a token in base64 and its rank on each line. The pattern that cuts text is no part of it and goes by name.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tokenizers import AddedToken, Tokenizer, decoders, models

from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.text.byte_symbols import symbols
from hanlin.core.text.merges import LONGEST_TOKEN, merges_of
from hanlin.core.text.pretokenize import GPT2_PATTERN, LLAMA3_PATTERN, O200K_PATTERN, QWEN2_PATTERN, cutter

GREATEST_RANK = 10_000_000
END = "<|endoftext|>"


@dataclass(frozen=True)
class Encoding:
    """What a rank file leaves out: how text is cut, and the ids of special tokens. end: the token that ends a text."""

    pattern: str
    special: dict[str, int]
    end: str = END


_FILL_IN_THE_MIDDLE = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
_LLAMA3 = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(4)),
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(5, 251)),
]
ENCODINGS = {
    "gpt2": Encoding(GPT2_PATTERN, {END: 50256}),
    "r50k_base": Encoding(GPT2_PATTERN, {END: 50256}),
    "p50k_base": Encoding(GPT2_PATTERN, {END: 50256}),
    "cl100k_base": Encoding(
        LLAMA3_PATTERN,
        {END: 100257, **{name: 100258 + i for i, name in enumerate(_FILL_IN_THE_MIDDLE)}, "<|endofprompt|>": 100276},
    ),
    "o200k_base": Encoding(O200K_PATTERN, {END: 199999, "<|endofprompt|>": 200018}),
    "llama3": Encoding(LLAMA3_PATTERN, {name: 128000 + i for i, name in enumerate(_LLAMA3)}, "<|end_of_text|>"),
    "qwen": Encoding(QWEN2_PATTERN, {END: 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}),
}


def read(path: Path, encoding: str, special: dict[str, int] | None = None) -> tuple[Tokenizer, dict[str, str]]:
    """Backend and settings of a rank file. special: instead of the encoding's own special tokens.

    Raises HanlinError for an unknown encoding or a file that is none.
    """
    if encoding not in ENCODINGS:
        raise HanlinError(
            f'There is no tiktoken encoding "{encoding}".',
            did_you_mean(encoding, ENCODINGS),
            "name the encoding the ranks belong to",
            "docs/models.md",
        )
    named = ENCODINGS[encoding]
    tokens = named.special if special is None else special
    backend = backend_of(parse(path.read_bytes(), str(path)), named.pattern, tokens, str(path))
    return backend, {"eos_token": named.end} if named.end in tokens else {}


def parse(data: bytes, name: str = "the file") -> dict[bytes, int]:
    """The ranks in the file's order."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line:
            continue
        coded, _, rank = line.partition(b" ")
        try:
            token = base64.b64decode(coded, validate=True)
            if not rank.isdigit() or len(rank) > 8:
                raise ValueError("no rank")
            place = int(rank)
        except (binascii.Error, ValueError) as error:
            _refuse(name, f"is no rank file: line {number} ({error})")
        if token in ranks or place > GREATEST_RANK or not 0 < len(token) <= LONGEST_TOKEN:
            _refuse(name, f"is no rank file: line {number} has a token twice, or one of {len(token)} bytes")
        ranks[token] = place
    return ranks


def backend_of(ranks: dict[bytes, int], pattern: str, special: dict[str, int], name: str = "the file") -> Tokenizer:
    """A tokenizer whose ids are tiktoken's: a piece that is a token is that token, else neighbours merge by rank."""
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        _refuse(name, f"has no token for {len(missing)} of the 256 bytes")
    if len({*ranks.values(), *special.values()}) != len(ranks) + len(special):
        _refuse(name, "gives one rank to two tokens")
    vocab = {symbols(token): rank for token, rank in sorted(ranks.items(), key=lambda pair: pair[1])}
    backend = Tokenizer(models.BPE(vocab=vocab | special, merges=merges_of(list(vocab), vocab), ignore_merges=True))
    backend.pre_tokenizer = cutter((pattern,))
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return backend


def _refuse(name: str, cause: str) -> NoReturn:
    raise HanlinError(
        f"{name} {cause}.",
        "a token in base64, a space and its rank on each line",
        "get the file again, or take the model's tokenizer.json",
        "docs/models.md",
    )
