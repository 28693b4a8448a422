"""Every family, many texts at once: in blocks, in chunks, shared, guessed, each token is the one a full pass over its
text would choose."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import DECODERS, ours_of, random_reference
from test_decoders import without_growing_rope

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.text import Ticket
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer

TIE = 1e-4
"""Logits this close are equal: which of two comes first may hang on rounding."""

families = pytest.mark.parametrize("case", DECODERS.values(), ids=list(DECODERS))


def loaded_of(case: ModuleType, data: st.DataObject, tokenizer: Tokenizer, seed: int) -> Pretrained:
    model, family = ours_of(random_reference(case, without_growing_rope(data.draw(case.configs())), seed))
    endless = Tokenizer(tokenizer.backend, {**tokenizer.settings, "chat_template": None})
    return Pretrained(model, endless, family, Path("random"), {"eos_token_id": 10**9})


def random_prompts(lengths: list[int], vocab_size: int, seed: int) -> list[list[int]]:
    """Prompts of these lengths that begin alike, so that there is something to share."""
    random = torch.Generator().manual_seed(seed)
    beginning = torch.randint(vocab_size, (12,), generator=random).tolist()
    own = [torch.randint(vocab_size, (length,), generator=random).tolist() for length in lengths]
    return [(beginning + ids)[: max(1, length)] for ids, length in zip(own, lengths)]


def run(engine: Engine, prompts: list[list[int]], max_tokens: int) -> list[Ticket]:
    """The second half joins when the first is under way."""
    sampling = GREEDY.model_copy(update={"max_tokens": max_tokens})
    tickets = [engine.submit(prompt, sampling) for prompt in prompts[::2]]
    engine.step()
    tickets += [engine.submit(prompt, sampling) for prompt in prompts[1::2]]
    while engine.busy:
        engine.step()
    return tickets


@torch.inference_mode()
def is_greedy(loaded: Pretrained, ticket: Ticket) -> bool:
    """Whether each token of the reply is the likeliest after those before it, by one full pass in float32."""
    reply = [piece.token for piece in ticket.pieces]
    logits_TV = loaded.model(torch.tensor([ticket.prompt + reply]))[0, len(ticket.prompt) - 1 : -1]
    chosen_T = logits_TV.gather(1, torch.tensor(reply)[:, None])[:, 0]
    return bool((logits_TV.max(-1).values - chosen_T <= TIE).all())


@families
@settings(max_examples=3)
@given(
    data=st.data(),
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    chunk_tokens=st.sampled_from([3, 16, 512]),
    block_tokens=st.sampled_from([1, 4, 32]),
    max_streams=st.sampled_from([2, 16]),
    speculate=st.sampled_from(["", "lookup"]),
    seed=st.integers(0, 1000),
)
def test_each_text_is_written_as_if_alone(
    case: ModuleType,
    tiny_tokenizer: Tokenizer,
    data: st.DataObject,
    lengths: list[int],
    chunk_tokens: int,
    block_tokens: int,
    max_streams: int,
    speculate: str,
    seed: int,
) -> None:
    loaded = loaded_of(case, data, tiny_tokenizer, seed)
    options = EngineOptions(
        chunk_tokens=chunk_tokens, block_tokens=block_tokens, max_streams=max_streams, speculate=speculate
    )
    engine = Engine(loaded, options)
    lengths = [min(length, loaded.context - 1) for length in lengths]
    prompts = random_prompts(lengths, loaded.model.vocab_size, seed)
    for ticket in run(engine, prompts, max_tokens=12):
        assert ticket.error is None
        assert len(ticket.pieces) == min(12, loaded.context - len(ticket.prompt))
        assert is_greedy(loaded, ticket)
    assert engine.blocks.num_available == engine.blocks.num_blocks


@families
@settings(max_examples=1)
@given(data=st.data())
def test_a_prompt_read_before_is_found(case: ModuleType, tiny_tokenizer: Tokenizer, data: st.DataObject) -> None:
    loaded = loaded_of(case, data, tiny_tokenizer, seed=1)
    engine = Engine(loaded, EngineOptions(block_tokens=4, chunk_tokens=8))
    length = min(30, loaded.context - 6)
    (prompt,) = random_prompts([length], loaded.model.vocab_size, seed=2)
    (first,), (second,) = run(engine, [prompt], 6), run(engine, [prompt], 6)
    assert first.num_shared == 0 and second.num_shared >= length - 4
    assert [piece.token for piece in first.pieces] == [piece.token for piece in second.pieces]
    assert is_greedy(loaded, second)
