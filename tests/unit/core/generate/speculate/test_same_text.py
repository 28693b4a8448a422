"""Guesses change how many passes a text takes, never the text: found, by a draft model, by the first layers, and
nonsense, in every kind of family."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import CONFIGS, CONTEXT, RECURRENT, tiny_model

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.generate.speculate import Draft, Speculator, room
from hanlin.core.generate.speculate.draft import SmallModel
from hanlin.core.generate.text import Text, Ticket
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer

OPTIONS = EngineOptions(max_streams=4, block_tokens=4, cache_tokens=4 * CONTEXT, chunk_tokens=8)
PROMPTS = ("台灣最高的山是玉山，台灣最高的山是", "憲法", "def add(a, b):\n    return a + b\ndef add(", "一")
PENALISED = Sampling(
    temperature=0, repetition_penalty=1.3, frequency_penalty=0.5, no_repeat_ngram=3, dry_multiplier=0.8, max_tokens=20
)


Said = tuple[list[int], str, str]
"""Tokens, text, and why it ended."""


class Nonsense:
    """A speculator that guesses at random, now and then nothing.

    knows: how likely a guess is what the model is going to say, as `answers` (prompt and reply) tell it.
    """

    def __init__(self, seed: int, vocab_size: int, knows: float = 0, answers: Sequence[Sequence[int]] = ()):
        self.random = torch.Generator().manual_seed(seed)
        self.vocab_size, self.knows, self.answers = vocab_size, knows, answers
        self.dropped: list[Text] = []

    def propose(self, texts: Sequence[Text]) -> dict[Text, Draft]:
        drafts = {}
        for text in texts:
            count = self._integer(room(text, 5) + 1)
            known = next((ids for ids in self.answers if ids[: len(text.ids)] == text.ids), [])
            tokens = [self._guess(known, len(text.ids) + place) for place in range(count)]
            if tokens:
                drafts[text] = Draft(tokens)
        return drafts

    def drop(self, text: Text) -> None:
        self.dropped.append(text)

    def _guess(self, known: Sequence[int], place: int) -> int:
        if place < len(known) and float(torch.rand((), generator=self.random)) < self.knows:
            return known[place]
        return self._integer(self.vocab_size)

    def _integer(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self.random))


def write(
    loaded: Pretrained,
    prompts: Sequence[Sequence[int]],
    sampling: Sequence[Sampling],
    options: EngineOptions = OPTIONS,
    speculator: Speculator | None = None,
) -> list[Ticket]:
    """All at once; the tickets of finished texts, whose pieces are still there. Nothing of the cache is held after."""
    engine = Engine(loaded, options)
    engine.speculator = speculator or engine.speculator
    tickets = [engine.submit(prompt, how) for prompt, how in zip(prompts, sampling)]
    while engine.busy:
        engine.step()
    engine.close()
    assert engine.blocks.num_available == engine.blocks.num_blocks
    for ticket in tickets:
        if ticket.error is not None:
            raise ticket.error
    return tickets


def said(tickets: Sequence[Ticket]) -> list[Said]:
    return [([p.token for p in t.pieces], "".join(p.text for p in t.pieces), t.pieces[-1].finish) for t in tickets]


def greedy(max_tokens: int) -> Sampling:
    return GREEDY.model_copy(update={"max_tokens": max_tokens})


@dataclass(frozen=True)
class Case:
    """A model, what it is asked, and what it says without guesses."""

    loaded: Pretrained
    prompts: list[list[int]]
    how: list[Sampling]
    plain: list[Said]


def case_of(family: str, tokenizer: Tokenizer) -> Case:
    """Texts of different lengths: one with a stop text in its middle, so that it ends inside what was guessed, one with
    every penalty, one that goes on to the end of the context."""
    loaded = tiny_model(family, tokenizer)
    prompts = [[loaded.tokenizer.document_id, *loaded.tokenizer.encode(prompt)] for prompt in PROMPTS]
    (_, whole, _), *_ = said(write(loaded, prompts[1:2], [greedy(24)]))
    inside = whole[len(whole) // 2 :][:2]
    how = [greedy(24), greedy(24).model_copy(update={"stop": (inside,)}), PENALISED, greedy(1000)]
    return Case(loaded, prompts, how, said(write(loaded, prompts, how)))


@pytest.fixture(scope="module", params=CONFIGS)
def case(request: pytest.FixtureRequest, tiny_tokenizer: Tokenizer) -> Case:
    return case_of(request.param, tiny_tokenizer)


def speculators(loaded: Pretrained) -> dict[str, tuple[EngineOptions, Speculator | None]]:
    """By name: options, and a speculator that takes the place of theirs."""
    family, tokenizer = loaded.path.name, loaded.tokenizer
    num_blocks = OPTIONS.cache_tokens // OPTIONS.block_tokens

    def small(draft: Pretrained, **options: int) -> SmallModel:
        return SmallModel(draft, loaded, OPTIONS.model_copy(update=options), num_blocks)

    other = "qwen3" if family in RECURRENT else "mamba"
    return {
        "lookup": (OPTIONS.model_copy(update={"speculate": "lookup"}), None),
        "early": (OPTIONS.model_copy(update={"speculate": "early"}), None),
        "draft, itself": (OPTIONS, small(loaded)),
        "draft, another": (OPTIONS, small(tiny_model(family, tokenizer, seed=5, num_layers=1), num_draft=3)),
        "draft, another family": (OPTIONS, small(tiny_model(other, tokenizer, seed=6))),
        "nonsense": (OPTIONS, Nonsense(1, tokenizer.vocab_size)),
    }


NAMES = ["lookup", "early", "draft, itself", "draft, another", "nonsense"]


@pytest.mark.parametrize("name", NAMES)
def test_greedy_texts_are_the_same(case: Case, name: str) -> None:
    options, speculator = speculators(case.loaded)[name]
    guessed = write(case.loaded, case.prompts, case.how, options, speculator)
    assert said(guessed) == case.plain
    if name == "draft, itself":
        to_their_ends = [guessed[0], *guessed[2:]]  # behind a stop text nobody asks whether a guess was right
        assert all(ticket.num_accepted == ticket.num_drafted > 0 for ticket in to_their_ends)
    assert len(case.prompts[3]) + len(guessed[3].pieces) == CONTEXT or guessed[3].pieces[-1].finish == "stop"


@pytest.mark.parametrize("family", ["qwen3", "rwkv"])
def test_attention_guesses_for_a_recurrent_model_and_the_other_way_round(
    tiny_tokenizer: Tokenizer, family: str
) -> None:
    case = case_of(family, tiny_tokenizer)
    guessed = write(case.loaded, case.prompts, case.how, *speculators(case.loaded)["draft, another family"])
    assert said(guessed) == case.plain and all(ticket.num_drafted for ticket in guessed)


@settings(max_examples=25)
@given(
    family=st.sampled_from(["gemma3", "rwkv"]),
    seed=st.integers(0, 10_000),
    knows=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    num_texts=st.integers(1, 6),
)
def test_whatever_is_guessed(tiny_tokenizer: Tokenizer, family: str, seed: int, knows: float, num_texts: int) -> None:
    """Random guesses, some of them right, in a batch where texts wait for a place; each is let go of once."""
    loaded = tiny_model(family, tiny_tokenizer)
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 30, (num_texts,), generator=random).tolist()
    prompts = [torch.randint(loaded.model.vocab_size, (length,), generator=random).tolist() for length in lengths]
    how = [greedy(int(torch.randint(1, 20, (), generator=random))) for _ in prompts]
    plain = said(write(loaded, prompts, how))
    answers = [[*prompt, *tokens] for prompt, (tokens, _, _) in zip(prompts, plain)]
    nonsense = Nonsense(seed, loaded.model.vocab_size, knows, answers)
    assert said(write(loaded, prompts, how, speculator=nonsense)) == plain
    assert len(nonsense.dropped) == len(set(nonsense.dropped)) == num_texts


@pytest.mark.parametrize("name", ["lookup", "early", "draft, itself"])
def test_a_seed_says_the_same_alone_and_in_a_batch(tiny_tokenizer: Tokenizer, name: str) -> None:
    """Sampled texts: what is guessed for one depends on nobody else."""
    loaded = tiny_model("qwen3", tiny_tokenizer)
    prompts = [[loaded.tokenizer.document_id, *loaded.tokenizer.encode(prompt)] for prompt in PROMPTS]
    how = [Sampling(temperature=0.7, top_p=0.9, max_tokens=16, seed=seed) for seed in range(len(prompts))]
    together = said(write(loaded, prompts, how, *speculators(loaded)[name]))
    alone = [said(write(loaded, [p], [s], *speculators(loaded)[name]))[0] for p, s in zip(prompts, how)]
    assert together == alone
    if name == "lookup":  # found, not drawn: even the random numbers are those of a text without guesses
        assert together == said(write(loaded, prompts, how))


FORMS = (
    {"regex": "(ab|ba){2,6}。"},
    {"json_schema": json.dumps({"type": "array", "items": {"enum": ["玉山", "雪山"]}, "minItems": 1, "maxItems": 3})},
    {"choices": ("憲法第十六條", "憲法第七條"), "script": "zh-TW"},
)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("name", ["lookup", "early", "draft, itself", "nonsense"])
def test_what_a_reply_has_to_look_like(tiny_tokenizer: Tokenizer, name: str, temperature: float) -> None:
    """A constraint is where it was before it was guessed ahead, also where a guess would have ended the reply."""
    loaded = tiny_model("qwen3", tiny_tokenizer)
    prompts = [[loaded.tokenizer.document_id, *loaded.tokenizer.encode(prompt)] for prompt in PROMPTS[:3]]
    how = [Sampling(temperature=temperature, max_tokens=60, seed=1, **form) for form in FORMS]
    guessed = write(loaded, prompts, how, *speculators(loaded)[name])
    texts = [text for _, text, _ in said(guessed)]
    assert re.fullmatch(FORMS[0]["regex"], texts[0]) and texts[2] in FORMS[2]["choices"]
    assert set(json.loads(texts[1])) <= {"玉山", "雪山"}
    if name == "draft, itself":  # it guesses within the form, as the model writes within it
        assert all(ticket.num_accepted == ticket.num_drafted for ticket in guessed)
    if not temperature or name == "lookup":
        assert said(guessed) == said(write(loaded, prompts, how))
