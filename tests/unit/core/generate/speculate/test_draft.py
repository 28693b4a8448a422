"""The draft model's own end: what it reads, what it keeps, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_families import CONTEXT, tiny_model
from tokenizers import AddedToken

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.generate.speculate.draft import Shadow, SmallModel
from hanlin.core.generate.speculate.writing import fitted
from hanlin.core.generate.text import Ticket
from hanlin.core.model.families import t5
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

OPTIONS = EngineOptions(max_streams=4, block_tokens=4, cache_tokens=4 * CONTEXT, num_draft=3)
WRITE = GREEDY.model_copy(update={"max_tokens": 20})


@pytest.fixture(scope="module")
def loaded(tiny_tokenizer: Tokenizer) -> Pretrained:
    never_ends = {"eos_token_id": 10**6}
    plain = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": None})
    return replace(tiny_model("qwen3", plain), generation=never_ends)


def with_draft(loaded: Pretrained, small: Pretrained, options: EngineOptions = OPTIONS, num_blocks: int = 96) -> Engine:
    engine = Engine(loaded, options)
    engine.speculator = SmallModel(small, loaded, options, num_blocks)
    return engine


def answer(engine: Engine, prompt: list[int], sampling: Sampling = WRITE) -> Ticket:
    ticket = engine.submit(prompt, sampling)
    for _ in engine.stream(prompt[:1], sampling.model_copy(update={"max_tokens": 1})):
        pass
    while not ticket.done:
        engine.step()
    assert ticket.error is None
    return ticket


def blocks_of(engine: Engine) -> tuple[int, int]:
    """Free blocks and all blocks of the draft's cache."""
    blocks = engine.speculator._blocks
    return blocks.num_available, blocks.num_blocks


def test_it_lets_go_of_texts_that_ended_or_were_cancelled(loaded: Pretrained) -> None:
    engine = with_draft(loaded, loaded)
    first, second = (engine.submit(list(range(40, 40 + length)), WRITE) for length in (9, 30))
    for _ in range(3):
        engine.step()
    free, total = blocks_of(engine)
    assert free < total
    engine.cancel(first)
    while not second.done:
        engine.step()
    assert blocks_of(engine) == (total, total)


def test_a_beginning_is_read_once(loaded: Pretrained) -> None:
    """The draft's cache shares what the model's shares, and guesses as well as before."""
    small, prompt, read = tiny_model("qwen3", loaded.tokenizer), list(range(30, 60)), list[int]()
    small.model.embed_tokens.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    engine = with_draft(loaded, small)
    first, before = answer(engine, prompt), sum(read)
    read.clear()
    second = answer(engine, prompt)
    assert [p.token for p in first.pieces] == [p.token for p in second.pieces]
    assert before - sum(read) == 28  # whole blocks of the prompt
    assert second.num_accepted == second.num_drafted > 0


def test_a_long_prompt_is_read_in_chunks_before_it_guesses(loaded: Pretrained) -> None:
    engine = with_draft(loaded, loaded, OPTIONS.model_copy(update={"chunk_tokens": 8}))
    ticket = engine.submit(list(range(100, 150)), WRITE)
    while not ticket.pieces:
        engine.step()
    steps = 0
    while not ticket.num_drafted:
        engine.step()
        steps += 1
    assert steps == 50 // 8 + 1
    while not ticket.done:
        engine.step()
    assert [p.token for p in ticket.pieces] == [p.token for p in answer(Engine(loaded, OPTIONS), ticket.prompt).pieces]


def test_without_room_a_text_goes_on_without_guesses(loaded: Pretrained) -> None:
    engine = with_draft(loaded, loaded, num_blocks=5)
    ticket = answer(engine, list(range(100, 130)))
    assert len(ticket.pieces) == 20 and not ticket.num_drafted
    assert answer(engine, [5, 6, 7]).num_drafted > 0


def test_a_shorter_context_guesses_while_it_lasts(loaded: Pretrained, tiny_tokenizer: Tokenizer) -> None:
    small = tiny_model("gpt2", tiny_tokenizer)
    small.model.max_positions = 20
    engine = with_draft(loaded, small)
    short, long = answer(engine, [5, 6, 7]), answer(engine, list(range(30, 60)))
    assert short.num_drafted and not long.num_drafted
    assert len(short.pieces) == len(long.pieces) == 20


@pytest.mark.parametrize("rows", [-12, 12])
@pytest.mark.parametrize("temperature", [0, 1])
def test_an_embedding_with_more_rows_or_fewer(loaded: Pretrained, rows: int, temperature: float) -> None:
    """Rows beyond the tokenizer's are padding; models of one family differ in how many they have."""
    small = tiny_model("qwen3", loaded.tokenizer)
    weight = small.model.embed_tokens.weight.data
    resized = torch.cat([weight, torch.full((rows, 32), 9.0)]) if rows > 0 else weight[:rows]
    small.model.embed_tokens = torch.nn.Embedding.from_pretrained(resized)
    small.model.lm_head.weight = torch.nn.Parameter(resized)
    sampling = Sampling(temperature=temperature, max_tokens=20, seed=1)
    ticket = answer(with_draft(loaded, small), [5, 6, 7], sampling)
    assert ticket.num_drafted > 0 and len(ticket.pieces) == 20
    assert max(p.token for p in ticket.pieces) < loaded.model.vocab_size
    if not temperature:
        assert [p.token for p in ticket.pieces] == [
            p.token for p in answer(Engine(loaded, OPTIONS), [5, 6, 7], sampling).pieces
        ]


def test_logits_of_tokens_it_does_not_know() -> None:
    assert fitted(torch.zeros(1, 2), 3).tolist() == [[0, 0, -torch.inf]]
    assert fitted(torch.arange(4.0)[None], 3).tolist() == [[0, 1, 2]]


def test_a_draft_that_is_no_number_is_not_asked(loaded: Pretrained, tiny_tokenizer: Tokenizer) -> None:
    small = tiny_model("qwen3", tiny_tokenizer, seed=3)
    small.model.norm.weight.data.fill_(torch.nan)
    for temperature in (0, 1):
        ticket = answer(with_draft(loaded, small), [5, 6, 7], Sampling(temperature=temperature, max_tokens=20, seed=1))
        assert len(ticket.pieces) == 20 and not ticket.num_drafted


@given(
    guessed=st.lists(st.integers(0, 3), max_size=5),
    written=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    read_at_once=st.integers(1, 4),
)
def test_it_goes_back_to_where_the_text_became_another(
    guessed: list[int], written: list[int], read_at_once: int
) -> None:
    """States stand for what was read; lengths are those of a text of 3 tokens and then what was guessed of it."""
    shadow = Shadow([], [], [(0, [])])

    def read(tokens: list[int]) -> None:
        shadow.read += tokens
        shadow.length += len(tokens)
        shadow.states = [[torch.tensor(shadow.read)]]
        shadow.mark()

    text = [7, 8, 9]
    shadow.follow(text)
    for first in range(0, 3, read_at_once):
        read(text[first : first + read_at_once])
    shadow.follow([*text, 1])
    assert shadow.length == 3
    for token in guessed:
        read([token])
    text += written
    shadow.follow(text)
    agreed = next((i for i, (g, w) in enumerate(zip(guessed, written)) if g != w), min(len(guessed), len(written)))
    assert shadow.length == 3 + min(agreed, len(written) - 1)
    assert shadow.read == text[: shadow.length] == shadow.states[0][0].tolist()


def test_another_tokenizer_is_refused(loaded: Pretrained, tiny_tokenizer: Tokenizer) -> None:
    backend = type(tiny_tokenizer.backend).from_str(tiny_tokenizer.backend.to_str())
    backend.add_tokens([AddedToken("翰林")])
    small = tiny_model("qwen3", Tokenizer(backend, tiny_tokenizer.settings))
    with pytest.raises(HanlinError, match=r"another tokenizer.*翰林.*500 there and unknown here"):
        SmallModel(small, loaded, OPTIONS, 8)


def test_a_folder_is_opened(loaded: Pretrained, tmp_path: Path) -> None:
    small = tiny_model("qwen3", loaded.tokenizer, num_layers=1)
    save(tmp_path, small.model, small.family, small.tokenizer)
    ticket = answer(Engine(loaded, OPTIONS.model_copy(update={"speculate": "draft", "draft": str(tmp_path)})), [5, 6])
    assert ticket.num_drafted > 0


def test_no_draft_is_named(loaded: Pretrained) -> None:
    with pytest.raises(HanlinError, match="needs a small model"):
        Engine(loaded, OPTIONS.model_copy(update={"speculate": "draft"}))


def encoder_decoder(tokenizer: Tokenizer) -> Pretrained:
    config = {
        "model_type": "t5",
        "vocab_size": tokenizer.vocab_size,
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 40,
        "num_layers": 2,
        "num_heads": 3,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 12,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
    }
    return Pretrained(t5.build(config).eval(), tokenizer, t5, Path("t5"), {"eos_token_id": 10**6})


def test_an_encoder_decoder_neither_guesses_nor_is_guessed_for(loaded: Pretrained) -> None:
    other = encoder_decoder(loaded.tokenizer)
    with pytest.raises(HanlinError, match="it can't guess how a text goes on"):
        SmallModel(other, loaded, OPTIONS, 8)
    for speculate in ("draft", "early"):
        with pytest.raises(HanlinError, match="with different layers"):
            Engine(other, OPTIONS.model_copy(update={"speculate": speculate}))


def test_what_an_encoder_decoder_repeats_is_found(loaded: Pretrained) -> None:
    other, looking = encoder_decoder(loaded.tokenizer), OPTIONS.model_copy(update={"speculate": "lookup"})
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.mul_(0.3)
    plain, found = (answer(Engine(other, options), [5, 6, 7, 8, 9]) for options in (OPTIONS, looking))
    assert [p.token for p in plain.pieces] == [p.token for p in found.pieces]
