"""What an objective needs besides text is added behind the last id; the ids of texts stay."""

from __future__ import annotations

import pytest
from samples import varied_lines
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.make.pretrain.special_tokens import mask_id, sentinel_ids, with_mask, with_sentinels


def with_tokens(tokenizer: Tokenizer, names: list[str], **settings: str) -> Tokenizer:
    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return Tokenizer(backend, {**tokenizer.settings, **settings})


def test_ids_of_texts_stay(tiny_tokenizer: Tokenizer) -> None:
    size = tiny_tokenizer.vocab_size
    masking, spanning = with_mask(tiny_tokenizer), with_sentinels(tiny_tokenizer, 7)
    assert mask_id(masking) == size and masking.vocab_size == size + 1
    assert sentinel_ids(spanning) == tuple(range(size, size + 100))
    for line in [*varied_lines(120), "<|mask|> <extra_id_0>"]:
        ids = tiny_tokenizer.encode(line)
        assert masking.encode(line) == spanning.encode(line) == ids
        assert masking.decode(ids) == spanning.decode(ids) == line
    assert tiny_tokenizer.vocab_size == size and tiny_tokenizer.document_id == masking.document_id


def test_as_many_sentinels_as_are_needed(tiny_tokenizer: Tokenizer) -> None:
    assert len(sentinel_ids(with_sentinels(tiny_tokenizer, 180))) == 180


def test_a_tokenizer_that_has_them_is_left_alone(tiny_tokenizer: Tokenizer) -> None:
    theirs = with_tokens(tiny_tokenizer, ["[MASK]"], mask_token="[MASK]")
    assert with_mask(theirs) is theirs and mask_id(theirs) == tiny_tokenizer.vocab_size
    # T5 counts them down from the vocabulary's end
    reversed_ones = with_tokens(tiny_tokenizer, [f"<extra_id_{n}>" for n in reversed(range(5))])
    assert with_sentinels(reversed_ones, 5) is reversed_ones
    assert sentinel_ids(reversed_ones) == tuple(range(tiny_tokenizer.vocab_size + 4, tiny_tokenizer.vocab_size - 1, -1))
    pieces = with_tokens(tiny_tokenizer, ["▁<extra_id_0>", "▁<extra_id_1>"])  # mT5
    assert len(sentinel_ids(pieces)) == 2


def test_a_base_without_them_is_refused(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(HanlinError, match="names no mask token"):
        mask_id(tiny_tokenizer)
    with pytest.raises(HanlinError, match="has no sentinels"):
        sentinel_ids(tiny_tokenizer)
