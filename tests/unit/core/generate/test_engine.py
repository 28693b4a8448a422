"""The engine under load: ten thousand requests that come, go and are cancelled at random; and requests that can't be
served, each of which ends alone."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import small_decoder

from hanlin.core.generate.blocks import Blocks, stretches
from hanlin.core.generate.engine import Engine
from hanlin.core.generate.line import Line
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.generate.stream import stream
from hanlin.core.generate.text import Ticket
from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

TIE = 1e-4


@pytest.fixture(scope="module")
def loaded(tiny_tokenizer: Tokenizer) -> Pretrained:
    """Whose likeliest tokens are often the stop token's neighbours: replies end at all lengths."""
    model = small_decoder(seed=4, vocab_size=tiny_tokenizer.vocab_size, max_positions=96, num_layers=1).eval()
    return Pretrained(model, tiny_tokenizer, qwen3, Path("toy"), {})


def tokens_of(ticket: Ticket) -> list[int]:
    return [piece.token for piece in ticket.pieces]


def check_blocks(engine: Engine) -> None:
    """Each block is held by as many texts as name it, and what nobody holds is available."""
    held = Counter(block for text in (*engine.reading, *engine.writing) for block in text.blocks)
    assert all(engine.blocks.num_holders(block) == held[block] for block in range(engine.blocks.num_blocks))
    assert engine.blocks.num_available == engine.blocks.num_blocks - len(held)


def test_ten_thousand_requests(loaded: Pretrained) -> None:
    draw = random.Random(0)
    options = EngineOptions(
        max_streams=24, max_waiting=200, cache_tokens=1024, chunk_tokens=48, block_tokens=8, speculate="lookup"
    )
    engine = Engine(loaded, options)
    beginnings = [[draw.randrange(4, 500) for _ in range(40)] for _ in range(6)]
    tickets: list[Ticket] = []
    cancelled: set[int] = set()
    begun: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    waiting: dict[int, Ticket] = {}
    while len(tickets) < 10_000 or engine.busy:
        for _ in range(draw.randrange(20) if len(tickets) < 10_000 else 0):
            prompt = draw.choice(beginnings)[: draw.randrange(0, 40)] + [draw.randrange(4, 500)] * draw.randrange(1, 4)
            sampling = Sampling(
                temperature=draw.choice([0.0, 1.0]),
                repetition_penalty=1.0,
                max_tokens=draw.randrange(1, 12),
                seed=len(tickets),
                stop=draw.choice([(), ("a",), ("台", "灣的")]),
            )
            try:
                ticket = engine.submit(prompt, sampling, client=draw.choice("abc"))
            except HanlinError:
                assert len(engine.line) >= options.max_waiting
                break
            waiting[len(tickets)] = ticket
            tickets.append(ticket)
        engine.step()
        for number in [n for n, ticket in waiting.items() if ticket not in engine.line]:
            begun[waiting.pop(number).client].append(number)
        if tickets and draw.random() < 0.2:
            number = draw.randrange(max(0, len(tickets) - 150), len(tickets))
            cancelled |= {number} if not tickets[number].done else set()
            if number in waiting:
                waiting.pop(number)
            engine.cancel(tickets[number])
        if draw.random() < 0.05:
            check_blocks(engine)
    check_blocks(engine)
    assert engine.blocks.num_available == engine.blocks.num_blocks
    assert all(numbers == sorted(numbers) for numbers in begun.values()), "each client's requests keep their order"
    for number, ticket in enumerate(tickets):
        assert ticket.error is None and ticket.done
        ends = [piece.finish for piece in ticket.pieces if piece.finish]
        assert len(ends) == (number not in cancelled)
        assert not ends or ticket.pieces[-1].finish
    for number in draw.sample(range(len(tickets)), 200):
        ticket = tickets[number]
        alone = list(stream(loaded, ticket.prompt, ticket.sampling))
        assert list(ticket.pieces) == alone[: len(ticket.pieces)], number


def test_a_short_prompt_does_not_wait_for_a_long_one(loaded: Pretrained) -> None:
    engine = Engine(loaded, EngineOptions(chunk_tokens=8))
    writing = engine.submit([5, 6], Sampling(max_tokens=60, seed=0, temperature=1))
    engine.step()
    long = engine.submit([7] * 80, GREEDY)
    short = engine.submit([9, 8], GREEDY)
    before = len(writing.pieces)
    engine.step()
    engine.step()
    assert short.pieces and not long.pieces
    assert len(writing.pieces) == before + 2 or writing.done, "who writes gets a token at each step"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_clients_take_turns(moves: list[tuple[str, bool]]) -> None:
    """Between two turns of a client that waits all the time, everybody who waited at the first has had one."""
    line: Line[tuple[str, int]] = Line()
    for number, (client, takes) in enumerate(moves):
        line.add((client, number), client)
        if takes:
            line.pop()
    served, waiting = [], list(line)
    while len(line):
        served.append(line.pop())
    assert sorted(served) == sorted(waiting)
    for client in "abcd":
        assert [n for c, n in served if c == client] == sorted(n for c, n in waiting if c == client)
    counts: Counter[str] = Counter()
    left = Counter(client for client, _ in waiting)
    for client, _ in served:
        counts[client] += 1
        assert all(counts[client] - counts[other] <= 1 for other in "abcd" if counts[other] < left[other])


@given(
    texts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=20), max_size=12),
    block_tokens=st.integers(1, 4),
    num_blocks=st.integers(20, 40),
)
def test_found_blocks_hold_the_same_tokens(texts: list[list[int]], block_tokens: int, num_blocks: int) -> None:
    """Whatever was kept, taken away and kept again: who finds blocks finds his own beginning in them."""
    blocks = Blocks(num_blocks, block_tokens)
    inside: dict[int, tuple[int, ...]] = {}
    for text in texts:
        held = blocks.find(text)
        for place, block in enumerate(held):
            assert inside[block] == tuple(text[: (place + 1) * block_tokens])
        while len(held) < blocks.needed(len(text)):
            held.append(blocks.take(held[-1] if held else None))
            inside[held[-1]] = tuple(text[: len(held) * block_tokens])
        blocks.name(held, text)
        assert sum(count for _, count in stretches(held)) == len(held)
        blocks.release(held)
        assert blocks.num_available == num_blocks


def test_a_reply_that_is_no_number_ends_alone(loaded: Pretrained) -> None:
    """Token 7's vector is NaN: whoever reads it fails, and nobody else."""
    model = small_decoder(seed=4, vocab_size=500, max_positions=96, num_layers=1).eval()
    torch.nn.init.constant_(model.embed_tokens.weight, 0.02)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(500, 32, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        model.embed_tokens.weight[7] = torch.nan
    engine = Engine(replace(loaded, model=model), EngineOptions())
    tickets = [engine.submit(prompt, GREEDY.model_copy(update={"max_tokens": 5})) for prompt in ([5], [6, 7], [8])]
    while engine.busy:
        engine.step()
    assert tickets[1].error is not None and "not finite" in str(tickets[1].error)
    assert all(ticket.error is None and len(ticket.pieces) == 5 for ticket in (tickets[0], tickets[2]))
    check_blocks(engine)


def test_what_does_not_fit_is_refused_in_words(loaded: Pretrained) -> None:
    engine = Engine(loaded, EngineOptions(cache_tokens=40, block_tokens=8, max_streams=1, max_waiting=1))
    with pytest.raises(HanlinError, match="1 to 95 tokens for this model"):
        engine.submit([5] * 96, GREEDY)
    with pytest.raises(HanlinError, match="the cache holds 40"):
        engine.submit([5] * 30, Sampling(max_tokens=20))
    with pytest.raises(HanlinError, match="GiB are free"):
        Engine(loaded, EngineOptions(cache_tokens=10**12))
    short = Sampling(max_tokens=9)
    for _ in range(2):
        engine.submit([5, 6], short)
    with pytest.raises(HanlinError, match="requests wait already"):
        engine.submit([5, 6], short)


def test_room_is_waited_for_and_never_run_out_of(loaded: Pretrained) -> None:
    """Sixteen texts of 24 tokens at most into room for 40: one after the other, in order, none fails."""
    engine = Engine(loaded, EngineOptions(cache_tokens=40, block_tokens=8))
    sampling = Sampling(temperature=1, max_tokens=16)
    tickets = [engine.submit([5 + n] * 8, sampling.model_copy(update={"seed": n})) for n in range(16)]
    while engine.busy:
        assert len(engine.reading) + len(engine.writing) <= 1
        engine.step()
    assert all(ticket.error is None and ticket.pieces[-1].finish for ticket in tickets)


def test_a_cancelled_request_frees_its_blocks_at_once(loaded: Pretrained) -> None:
    engine = Engine(loaded, EngineOptions())
    ticket = engine.submit([5] * 50, GREEDY)
    engine.step()
    assert engine.blocks.num_available < engine.blocks.num_blocks
    engine.cancel(ticket)
    assert engine.blocks.num_available == engine.blocks.num_blocks and not engine.busy


def test_streams_of_one_engine_may_be_read_by_turns(loaded: Pretrained) -> None:
    engine = Engine(loaded, EngineOptions())
    sampling = Sampling(temperature=1, max_tokens=20, seed=3, repetition_penalty=1.0)
    one, two = engine.stream([5, 6], sampling), engine.stream([9, 9, 9], sampling)
    mixed = [next(one), next(two), *one, *two]
    assert sorted(p.token for p in mixed) == sorted(
        p.token for prompt in ([5, 6], [9, 9, 9]) for p in stream(loaded, prompt, sampling)
    )


def test_an_eight_bit_cache_stays_close(loaded: Pretrained) -> None:
    """Its keys and values are off by at most half a step of 1/127 of the largest; the distribution hardly moves."""
    ids = torch.randint(4, 500, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    shares = []
    for kind in ("plain", "int8"):
        engine = Engine(loaded, EngineOptions(cache=kind, chunk_tokens=7))
        ticket = engine.submit(ids, GREEDY)
        while not ticket.pieces:
            engine.step()
        (text,) = engine.writing or [None]
        with torch.inference_mode():
            shares.append(engine.model.head(engine.passes.read([text], [[5]])[:, -1]).softmax(-1)[0] if text else None)
    assert (shares[0] * (shares[0] / shares[1]).log()).sum() < 1e-3
