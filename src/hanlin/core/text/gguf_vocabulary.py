"""The vocabulary inside a GGUF file as a Tokenizer: llama.cpp's four kinds rebuilt from what it stores.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer; what the keys do, in llama.cpp's llama-vocab.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.text import sentencepiece
from hanlin.core.text.merges import merges_of
from hanlin.core.text.pretokenize import GGML_CUTS, GGML_NAMES, cutter
from hanlin.core.text.sentencepiece import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, UNUSED, USER_DEFINED, Piece
from hanlin.core.text.tokenizer import Tokenizer

USES = {"bos": "bos", "eos": "eos", "unknown": "unk", "seperator": "sep", "padding": "pad", "mask": "mask"}
"""GGUF's word for a special token (the spelling is the format's) → tokenizer_config.json's."""

_DEFAULT_IDS: dict[str, dict[str, int]] = {
    "llama": {"bos": 1, "eos": 2, "unknown": 0},
    "gpt2": {},
    "bert": {"bos": 101, "unknown": 100, "seperator": 102, "padding": 0, "mask": 103},
    "t5": {"eos": 1, "unknown": 2, "padding": 0},
}
_EXPECTS_BOS = ("llama-bpe", "tekken")
"""Of the "gpt2" kind, the cuts for which llama.cpp puts BOS first when the file does not say."""


@dataclass(frozen=True)
class Stored:
    """The lists and ids of a file, checked."""

    kind: str
    pieces: list[Piece]
    ids: dict[str, int]
    facts: Mapping[str, Any]

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.facts.get(f"tokenizer.ggml.{name}", default))


def tokenizer_of(metadata: Mapping[str, Any]) -> Tokenizer:
    """Raises HanlinError where the metadata hold no vocabulary that can be rebuilt."""
    stored = _stored(metadata)
    try:
        backend, expects_bos = _BUILD[stored.kind](stored)
        _add_tokens(backend, stored)
        adds_bos = "bos" in stored.ids and stored.flag("add_bos_token", expects_bos)
        _add_template(backend, stored, adds_bos)
    except HanlinError:
        raise
    except Exception as error:  # the library raises bare Exception for a vocabulary that does not hold together
        _refuse(f"does not hold together ({error})")
    settings: dict[str, Any] = {f"{USES[use]}_token": backend.id_to_token(place) for use, place in stored.ids.items()}
    if stored.kind == "bert":
        settings["cls_token"] = settings["bos_token"]
    if stored.kind == "gpt2":
        settings["ggml_pre"] = _pre(stored)
    if template := metadata.get("tokenizer.chat_template"):
        settings["chat_template"] = str(template)
    return Tokenizer(backend, {**settings, "add_bos_token": adds_bos, "clean_up_tokenization_spaces": False})


def _stored(metadata: Mapping[str, Any]) -> Stored:
    kind = metadata.get("tokenizer.ggml.model")
    if not isinstance(kind, str) or kind not in _BUILD:
        raise HanlinError(
            f'This GGUF file has a tokenizer of the kind "{kind}".',
            f"one of: {', '.join(_BUILD)}",
            "take the tokenizer.json of the model's Hugging Face folder",
            "docs/models.md",
        )
    tokens = _list(metadata, "tokens")
    kinds = _list(metadata, "token_type") or [NORMAL] * len(tokens)
    scores = _list(metadata, "scores") or [0.0] * len(tokens)
    if not tokens or len(kinds) < len(tokens) or len(scores) < len(tokens):
        _refuse(f"lists {len(tokens)} tokens, {len(kinds)} types and {len(scores)} scores")
    if not all(isinstance(text, str) for text in tokens):
        _refuse("has tokens that are no texts")
    named = [text or f"[EMPTY_{place}]" for place, text in enumerate(tokens)]
    if len(set(named)) != len(named):
        _refuse("lists a token twice")
    try:
        pieces = [Piece(*piece) for piece in zip(named, map(float, scores), map(int, kinds))]
        ids = {use: int(place) for use in USES if (place := _id_of(metadata, use, kind)) is not None}
    except (TypeError, ValueError, OverflowError) as error:
        _refuse(f"has no number where one belongs ({error})")
    for use, place in ids.items():
        if not 0 <= place < len(tokens):
            _refuse(f"says token {place} is its {use} token and has {len(tokens)}")
    return Stored(kind, pieces, ids, metadata)


def _id_of(metadata: Mapping[str, Any], use: str, kind: str) -> Any:
    return metadata.get(f"tokenizer.ggml.{use}_token_id", _DEFAULT_IDS[kind].get(use))


def _list(metadata: Mapping[str, Any], name: str) -> list[Any]:
    value = metadata.get(f"tokenizer.ggml.{name}")
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Iterable):
        _refuse(f"has no list of {name}")
    return list(value)


def _llama(stored: Stored) -> tuple[Backend, bool]:
    """SentencePiece's BPE by scores. llama.cpp applies none of its normaliser but the space in front."""
    pieces = stored.pieces
    merging = [piece for piece in pieces if piece.kind in (NORMAL, UNUSED)]
    best_first = sorted(merging, key=lambda piece: -piece.score)
    falls_back = any(piece.kind == BYTE for piece in pieces)
    prefixed = stored.flag("add_space_prefix", True)
    backend = Backend(
        models.BPE(
            vocab={piece.text: place for place, piece in enumerate(pieces)},
            merges=merges_of([piece.text for piece in best_first], {piece.text for piece in merging}),
            unk_token=pieces[stored.ids["unknown"]].text,
            fuse_unk=True,
            byte_fallback=falls_back,
        )
    )
    spaces = normalizers.Replace(" ", SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces] if prefixed else [spaces])
    backend.decoder = sentencepiece.decoder_of(falls_back, int(prefixed))
    return backend, True


def _gpt2(stored: Stored) -> tuple[Backend, bool]:
    name = GGML_NAMES[_pre(stored)]
    cut = GGML_CUTS[name]
    backend = Backend(
        models.BPE(
            vocab={piece.text: place for place, piece in enumerate(stored.pieces)},
            merges=[_pair(merge) for merge in _list(stored.facts, "merges")],
            ignore_merges=cut.whole_first,
        )
    )
    backend.pre_tokenizer = cutter(cut.patterns)
    backend.decoder = decoders.ByteLevel()
    return backend, name in _EXPECTS_BOS


def _pre(stored: Stored) -> str:
    name = str(stored.facts.get("tokenizer.ggml.pre") or "default")
    if name not in GGML_NAMES:
        raise HanlinError(
            f'This GGUF file cuts text as "{name}" does.',
            did_you_mean(name, GGML_NAMES),
            "take the tokenizer.json of the model's Hugging Face folder",
            "docs/models.md",
        )
    return name


def _pair(merge: str) -> tuple[str, str]:
    """The space that parts two tokens is the first one that is not the very first character."""
    cut = merge.find(" ", 1)
    return merge[:cut], merge[cut + 1 :]


def _bert(stored: Stored) -> tuple[Backend, bool]:
    """WordPiece, stored with ▁ before a word's first piece instead of ## before the others."""
    vocab = {_wordpiece(piece): place for place, piece in enumerate(stored.pieces)}
    if len(vocab) != len(stored.pieces):
        _refuse("lists a word piece twice")
    unknown = _wordpiece(stored.pieces[stored.ids["unknown"]])
    lowercase = stored.flag("normalizer.lowercase", True)
    backend = Backend(models.WordPiece(vocab=vocab, unk_token=unknown, max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=stored.flag("normalizer.strip_accents", lowercase)
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend, True


def _wordpiece(piece: Piece) -> str:
    if piece.kind in (CONTROL, UNKNOWN, UNUSED, USER_DEFINED):
        return piece.text
    return piece.text[1:] if piece.text.startswith(SPACE) and len(piece.text) > 1 else f"##{piece.text}"


def _t5(stored: Stored) -> tuple[Backend, bool]:
    """SentencePiece's Unigram."""
    pieces = [replace(piece, kind=CONTROL) if piece.kind == UNUSED else piece for piece in stored.pieces]
    charsmap = stored.facts.get("tokenizer.ggml.precompiled_charsmap")
    model = sentencepiece.Model(
        pieces,
        unk_id=stored.ids["unknown"],
        byte_fallback=any(piece.kind == BYTE for piece in pieces),
        charsmap=bytes(int(byte) & 0xFF for byte in charsmap) if charsmap is not None else b"",
        add_dummy_prefix=stored.flag("add_space_prefix", False),
        remove_extra_whitespaces=stored.flag("remove_extra_whitespaces", False),
    )
    sentencepiece.check(model, "This GGUF file's vocabulary")
    return sentencepiece.backend_of(model), False


_BUILD: dict[str, Callable[[Stored], tuple[Backend, bool]]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "bert": _bert,
    "t5": _t5,
}


def _add_tokens(backend: Backend, stored: Stored) -> None:
    def names(*kinds: int) -> list[str]:
        places = [place for place, piece in enumerate(stored.pieces) if piece.kind in kinds]
        return [backend.id_to_token(place) or "" for place in places]

    special = names(CONTROL, UNKNOWN)
    defined = names(USER_DEFINED) if stored.kind != "t5" else []
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
    backend.add_tokens([AddedToken(name, normalized=False, special=False) for name in defined])


def _add_template(backend: Backend, stored: Stored, adds_bos: bool) -> None:
    """What `tokenizers` and transformers put around a text: BOS, T5's end, BERT's [CLS] and [SEP]."""
    last = {"t5": "eos", "bert": "seperator"}.get(stored.kind, "")
    around = {use: backend.id_to_token(stored.ids[use]) or "" for use in ("bos", last) if use in stored.ids}
    before = [around["bos"]] if adds_bos else []
    after = [around[last]] if last in around else []
    if before or after:
        between = after or before
        backend.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", *between, "$B:1", *(f"{name}:1" for name in after)],
            special_tokens=[(name, backend.token_to_id(name)) for name in {*before, *after}],
        )


def _refuse(cause: str) -> NoReturn:
    raise HanlinError(
        f"This GGUF file's vocabulary {cause}.",
        "the lists tokenizer.ggml.tokens, token_type, scores and merges as llama.cpp's converter writes them",
        "get the file again, or take the tokenizer.json of the model's Hugging Face folder",
        "docs/models.md",
    )
