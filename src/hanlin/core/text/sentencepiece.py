"""SentencePiece's `.model` file, read without its library, as the equal `tokenizers` backend.

The file is a protocol buffer: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
What is not here is refused by name: WORD and CHAR models, spaces as suffixes, pieces that are switched off.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.charsmap import normalizers_of
from hanlin.core.text.merges import LONGEST_TOKEN, merges_of
from hanlin.core.text.protobuf import bytes_in, fields_of, number_in

UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of pieces; GGUF's `tokenizer.ggml.token_type` counts the same way."""

SPACE, ALL_SPACES = "▁", 1_000_000


@dataclass(frozen=True)
class Piece:
    text: str
    score: float
    kind: int


@dataclass
class Model:
    """What a `.model` file says about encoding and decoding."""

    pieces: list[Piece] = field(default_factory=list)
    algorithm: int = UNIGRAM
    byte_fallback: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    suffix_spaces: bool = False


def read(path: Path) -> tuple[Tokenizer, dict[str, str]]:
    """Backend and settings (bos, eos, unk, pad) of a `.model` file. Raises HanlinError for anything else."""
    model = parse(path.read_bytes(), str(path))
    return backend_of(model, str(path)), settings_of(model)


def parse(data: bytes, name: str = "the file") -> Model:
    model = Model()
    try:
        for number, value in fields_of(data):
            if number == 1:
                model.pieces.append(_piece(bytes_in(value)))
            elif number == 2:
                _read_trainer(model, bytes_in(value))
            elif number == 3:
                _read_normalizer(model, bytes_in(value))
    except (ValueError, struct.error) as error:  # UnicodeDecodeError is a ValueError
        _refuse(name, f"is not a SentencePiece model ({error})")
    check(model, name)
    return model


def backend_of(model: Model, name: str = "the model") -> Tokenizer:
    """A tokenizer whose ids are SentencePiece's.

    Two differences are known. Where a Unigram has several best ways to cut a run ("😀😀😀" + "😀" or the reverse), its
    float32 sums and the library's float64 may choose differently. And a BPE text that is nothing but one token of a
    user's own gets no dummy prefix.
    """
    pieces = model.pieces
    defined = [piece.text for piece in pieces if piece.kind == USER_DEFINED]
    if model.algorithm == BPE:
        backend = Tokenizer(_bpe(model))
    else:
        backend = Tokenizer(models.Unigram(_scored(pieces), model.unk_id, model.byte_fallback))
        defined = []  # in a Unigram they compete like any piece, see _scored
    steps = _spaces(model, defined)
    if model.charsmap:
        steps = [*normalizers_of(model.charsmap, name), *steps]
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    prefix_spaces = ALL_SPACES if model.remove_extra_whitespaces else int(model.add_dummy_prefix)
    backend.decoder = decoder_of(model.byte_fallback, prefix_spaces)
    special = [piece.text for piece in pieces if piece.kind in (CONTROL, UNKNOWN)]
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    backend.add_tokens([AddedToken(text, normalized=_is_stable(backend, text), special=False) for text in defined])
    return backend


def decoder_of(byte_fallback: bool, prefix_spaces: int) -> decoders.Decoder:
    """▁ → space, bytes → characters, and up to `prefix_spaces` in front taken away."""
    steps: list[decoders.Decoder] = [decoders.Replace(SPACE, " ")]
    if byte_fallback:
        steps.append(decoders.ByteFallback())
    steps.append(decoders.Fuse())
    if prefix_spaces:
        steps.append(decoders.Strip(" ", prefix_spaces, 0))
    return decoders.Sequence(steps)


def _bpe(model: Model) -> models.BPE:
    normal = [piece for piece in model.pieces if piece.kind == NORMAL]
    best_first = sorted(normal, key=lambda piece: -piece.score)  # stable: of equals the smaller id
    return models.BPE(
        vocab={piece.text: place for place, piece in enumerate(model.pieces)},
        merges=merges_of([piece.text for piece in best_first], {piece.text for piece in normal}),
        unk_token=model.pieces[model.unk_id].text,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


def _scored(pieces: list[Piece]) -> list[tuple[str, float]]:
    """A user's own pieces score by their length in bytes, as SentencePiece has it, and not what the file says."""
    best = np.float32(max((piece.score for piece in pieces if piece.kind == NORMAL), default=0.0))

    def score(piece: Piece) -> float:
        own = np.float32(len(piece.text.encode())) * best - np.float32(0.1)
        return float(own) if piece.kind == USER_DEFINED else piece.score

    return [(piece.text, score(piece)) for piece in pieces]


def _is_stable(backend: Tokenizer, text: str) -> bool:
    """Whether the token can be looked for in the normalised text, where ▁ and the spaces' rules have been applied once
    for the whole; else it is cut out of the raw text."""
    return backend.normalizer is not None and backend.normalizer.normalize_str(text) == text


def settings_of(model: Model) -> dict[str, str]:
    places = {"unk": model.unk_id, "bos": model.bos_id, "eos": model.eos_id, "pad": model.pad_id}
    return {
        f"{use}_token": model.pieces[place].text
        for use, place in places.items()
        if 0 <= place < len(model.pieces) and model.pieces[place].kind in (CONTROL, UNKNOWN)
    }


def _spaces(model: Model, defined: list[str]) -> list[normalizers.Normalizer]:
    """Spaces as SentencePiece treats them, in its order; the pieces have ▁ for each."""
    space = SPACE if model.escape_whitespaces else " "
    steps: list[normalizers.Normalizer] = []
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if model.add_dummy_prefix and not defined:
        steps.append(normalizers.Prepend(space))
    elif model.add_dummy_prefix:
        # The library normalises the tokens it looks for, too: in front of them no space must appear.
        alone = "|".join(map(re.escape, defined))
        steps.append(normalizers.Replace(Regex(rf"\A(?!\z)(?!(?:{alone})\z)"), space))
    if model.escape_whitespaces:
        steps.append(normalizers.Replace(" ", SPACE))
    if model.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(rf"{space}+\z"), ""))
    return steps


def _piece(data: memoryview) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in fields_of(data):
        if number == 1:
            text = bytes(bytes_in(value)).decode()
        elif number == 2:
            (score,) = struct.unpack("<f", bytes_in(value))
        elif number == 3:
            kind = number_in(value)
    return Piece(text, score, kind)


def _read_trainer(model: Model, data: memoryview) -> None:
    for number, value in fields_of(data):
        if number == 3:
            model.algorithm = number_in(value)
        elif number == 24:
            model.suffix_spaces = bool(number_in(value))
        elif number == 35:
            model.byte_fallback = bool(number_in(value))
        elif number == 40:
            model.unk_id = number_in(value)
        elif number == 41:
            model.bos_id = number_in(value)
        elif number == 42:
            model.eos_id = number_in(value)
        elif number == 43:
            model.pad_id = number_in(value)


def _read_normalizer(model: Model, data: memoryview) -> None:
    for number, value in fields_of(data):
        if number == 2:
            model.charsmap = bytes(bytes_in(value))
        elif number == 3:
            model.add_dummy_prefix = bool(number_in(value))
        elif number == 4:
            model.remove_extra_whitespaces = bool(number_in(value))
        elif number == 5:
            model.escape_whitespaces = bool(number_in(value))


def check(model: Model, name: str) -> None:
    pieces = model.pieces
    if model.algorithm not in (UNIGRAM, BPE):
        _refuse(name, "is a WORD or CHAR model")
    if model.suffix_spaces:
        _refuse(name, "puts spaces behind words (treat_whitespace_as_suffix)")
    unknown = [place for place, piece in enumerate(pieces) if piece.kind == UNKNOWN]
    if unknown != [model.unk_id]:
        _refuse(name, f"has {len(unknown)} unknown pieces, and says number {model.unk_id} is")
    if len({piece.text for piece in pieces}) != len(pieces):
        _refuse(name, "has a piece twice")
    for place, piece in enumerate(pieces):
        if piece.kind not in (NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE):
            _refuse(name, f"switches piece {place} off (kind {piece.kind})")
        if not piece.text or len(piece.text) > LONGEST_TOKEN or not math.isfinite(piece.score):
            _refuse(name, f"has no text of 1 to {LONGEST_TOKEN} characters with a score as piece {place}")
    num_bytes = len({f"<0x{byte:02X}>" for byte in range(256)} & {p.text for p in pieces if p.kind == BYTE})
    if model.byte_fallback and num_bytes != 256:
        _refuse(name, f"falls back to bytes and has {num_bytes} of them")


def _refuse(name: str, cause: str) -> NoReturn:
    raise HanlinError(
        f"{name} {cause}.",
        "a SentencePiece model of the kind unigram or bpe, as its trainer writes it",
        "take the model's tokenizer.json instead",
        "docs/models.md",
    )
