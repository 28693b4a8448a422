"""A tokenizer as the GGUF keys llama.cpp rebuilds it from: only where its ids will be the same there."""

from __future__ import annotations

import json
from itertools import groupby
from typing import NoReturn

from tokenizers import models

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.gguf_vocabulary import USES
from hanlin.core.text.merges import merges_of
from hanlin.core.text.plain_text import BYTE_NAME
from hanlin.core.text.pretokenize import ggml_pre
from hanlin.core.text.sentencepiece import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, UNUSED, USER_DEFINED
from hanlin.core.text.tokenizer import Tokenizer, token_text

Value = bool | int | str | list[str] | list[int] | list[float]


def tokenizer_metadata(tokenizer: Tokenizer, num_rows: int) -> dict[str, Value]:
    """The keys `tokenizer.*`. num_rows: rows of the embedding; those beyond the vocabulary become unused tokens.

    Raises HanlinError for a tokenizer llama.cpp would read differently.
    """
    facts: dict[str, Value] = {}
    model = tokenizer.backend.model
    if isinstance(model, models.WordPiece):
        facts = _bert(tokenizer, num_rows)
    elif isinstance(model, models.BPE) and model.byte_fallback:
        facts = _llama(tokenizer, num_rows)
    elif isinstance(model, models.BPE):
        facts = _gpt2(tokenizer, num_rows)
    else:
        _refuse(f"is a {type(model).__name__}")
    if len(set(facts["tokenizer.ggml.tokens"])) != num_rows:  # type: ignore[arg-type]
        _refuse("has tokens llama.cpp can't tell apart")
    if tokenizer.chat_template:
        facts["tokenizer.chat_template"] = tokenizer.chat_template
    return facts


def token_types(tokenizer: Tokenizer, num_rows: int) -> list[int]:
    added = tokenizer.backend.get_added_tokens_decoder()
    unknown = getattr(tokenizer.backend.model, "unk_token", None)
    falls_back = getattr(tokenizer.backend.model, "byte_fallback", False)
    types = []
    for row in range(num_rows):
        name = tokenizer.backend.id_to_token(row)
        if name is None:
            types.append(UNUSED)
        elif row in added:
            special = UNKNOWN if name == unknown else CONTROL
            types.append(special if added[row].special else USER_DEFINED)
        else:
            types.append(BYTE if falls_back and BYTE_NAME.fullmatch(name) else NORMAL)
    return types


def merges(tokenizer: Tokenizer) -> list[str]:
    """Merges in order, each "left right"."""
    return [" ".join(pair) for pair in _pairs(tokenizer)]


def _pairs(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """tokenizer.json has them as pairs or, in older files, as strings."""
    stored = json.loads(tokenizer.backend.model.__getstate__())["merges"]
    return [tuple(pair.split(" ", 1) if isinstance(pair, str) else pair) for pair in stored]


def _names(tokenizer: Tokenizer, num_rows: int) -> list[str]:
    return [tokenizer.backend.id_to_token(row) or f"[UNUSED{row}]" for row in range(num_rows)]


def _ids(tokenizer: Tokenizer) -> dict[str, Value]:
    """The special tokens' ids, where the settings name them."""
    named = {use: token_text(tokenizer.settings.get(f"{ours}_token")) for use, ours in USES.items()}
    found = {use: tokenizer.backend.token_to_id(name) for use, name in named.items() if name}
    return {f"tokenizer.ggml.{use}_token_id": place for use, place in found.items() if place is not None}


def _gpt2(tokenizer: Tokenizer, num_rows: int) -> dict[str, Value]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": ggml_pre(tokenizer.backend, tokenizer.settings.get("ggml_pre")),
        "tokenizer.ggml.tokens": _names(tokenizer, num_rows),
        "tokenizer.ggml.token_type": token_types(tokenizer, num_rows),
        "tokenizer.ggml.merges": merges(tokenizer),
        **_ids(tokenizer),
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.add_bos_token": tokenizer.add_bos,
    }


def _llama(tokenizer: Tokenizer, num_rows: int) -> dict[str, Value]:
    """SentencePiece's BPE: llama.cpp has scores instead of merges, and only the space in front for a normaliser.

    A token that holds the character NUL is lost there, and NUL becomes its byte token.
    """
    prefixed = _has_prefix(tokenizer)
    types, names = token_types(tokenizer, num_rows), _names(tokenizer, num_rows)
    runs = {name for name, kind in zip(names, types) if kind == USER_DEFINED and not name.strip(SPACE)}
    normal = {name for name, kind in zip(names, types) if kind == NORMAL}
    pairs = _pairs(tokenizer)
    if runs and not _takes_runs_first(tokenizer, pairs, runs, normal):
        _refuse("merges spaces with words before spaces with each other")
    scores = _scores(pairs, normal)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [name.replace(SPACE, " ") if name in runs else name for name in names],
        "tokenizer.ggml.scores": [scores.get(name, -float(len(scores))) for name in names],
        "tokenizer.ggml.token_type": types,
        **_ids(tokenizer),
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.add_bos_token": tokenizer.add_bos,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": prefixed,
    }


def _has_prefix(tokenizer: Tokenizer) -> bool:
    """Whether a space is put before the text. Raises HanlinError for what else may happen to a text."""
    normalizer, cut = tokenizer.backend.normalizer, tokenizer.backend.pre_tokenizer
    steps = json.loads(normalizer.__getstate__()) if normalizer else {"type": "Sequence", "normalizers": []}
    steps = steps["normalizers"] if steps["type"] == "Sequence" else [steps]
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    known = [spaces], [{"type": "Prepend", "prepend": SPACE}, spaces]
    # Gemma's files cut at spaces, of which the normaliser has left none.
    if steps not in known or (cut and json.loads(cut.__getstate__()).get("pattern") != {"String": " "}):
        _refuse('changes text otherwise than by "▁" for a space')
    if tokenizer.backend.model.ignore_merges:
        _refuse("takes whole words before it merges")
    return steps == known[1]


def _scores(pairs: list[tuple[str, str]], normal: set[str]) -> dict[str, float]:
    """A score for every token a merge makes: the earlier, the greater. llama.cpp merges any two neighbours that make a
    token, so the merges must be all such pairs, token by token."""
    products = ["".join(pair) for pair in pairs]
    made = [token for token, _ in groupby(token for token in products if token in normal)]
    if len(set(made)) != len(made):
        _refuse("makes one token at several places of its merges")
    if {pair for pair, token in zip(pairs, products) if token in normal} != set(merges_of(list(normal), normal)):
        _refuse("does not merge every two neighbours that make a token")
    return {token: -float(place) for place, token in enumerate(made)}


def _takes_runs_first(tokenizer: Tokenizer, pairs: list[tuple[str, str]], runs: set[str], normal: set[str]) -> bool:
    """Whether several spaces become Gemma's tokens for them before anything merges, as they do in llama.cpp, which cuts
    a user's own tokens out of the raw text, the longest first."""
    made = map("".join, pairs)
    of_spaces = [token in runs for token in made if token in runs or token in normal]
    longest_first = sorted(runs, key=len, reverse=True)
    spaces = (SPACE * count for count in range(1, 2 * len(longest_first[0])))
    return of_spaces == sorted(of_spaces, reverse=True) and all(
        [tokenizer.backend.id_to_token(i) for i in tokenizer.encode(" " * len(run), at_start=False)]
        == _greedy(run, longest_first)
        for run in spaces
    )


def _greedy(run: str, longest_first: list[str]) -> list[str]:
    taken: list[str] = []
    while run:
        taken.append(next((token for token in longest_first if run.startswith(token)), SPACE))
        run = run[len(taken[-1]) :]
    return taken


def _bert(tokenizer: Tokenizer, num_rows: int) -> dict[str, Value]:
    """WordPiece, with ▁ before a word's first piece instead of ## before the others."""
    normalizer, cut = tokenizer.backend.normalizer, tokenizer.backend.pre_tokenizer
    steps = json.loads(normalizer.__getstate__()) if normalizer else {}
    cuts = json.loads(cut.__getstate__()) if cut else {}
    if steps.get("type") != "BertNormalizer" or cuts.get("type") != "BertPreTokenizer":
        _refuse("prepares text otherwise than BERT")
    if not (steps["clean_text"] and steps["handle_chinese_chars"]):
        _refuse("leaves control or Chinese characters as they are")
    types = token_types(tokenizer, num_rows)
    first = token_text(tokenizer.settings.get("cls_token")) or "[CLS]"
    last = token_text(tokenizer.settings.get("sep_token")) or "[SEP]"
    accents = steps["lowercase"] if steps["strip_accents"] is None else steps["strip_accents"]
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [_phantom(*pair) for pair in zip(_names(tokenizer, num_rows), types)],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.token_type_count": 2,
        **_ids(tokenizer),
        "tokenizer.ggml.bos_token_id": tokenizer.id_of(first),
        "tokenizer.ggml.seperator_token_id": tokenizer.id_of(last),
        "tokenizer.ggml.unknown_token_id": tokenizer.id_of(tokenizer.backend.model.unk_token),
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.normalizer.lowercase": steps["lowercase"],
        "tokenizer.ggml.normalizer.strip_accents": accents,
    }


def _phantom(name: str, kind: int) -> str:
    if kind != NORMAL:
        return name
    return name[2:] if name.startswith("##") else SPACE + name


def _refuse(cause: str) -> NoReturn:
    raise HanlinError(
        f"The tokenizer {cause}, so its ids would differ in llama.cpp.",
        "byte-level BPE, SentencePiece's BPE or BERT's WordPiece, as their makers publish them",
        "use a tokenizer of hanlin tokenize, or that of a model llama.cpp knows",
        "src/hanlin/shape/quantize/README.md",
    )
