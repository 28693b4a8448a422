"""A reply as a stream: where it ends, what is held back, what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, processors

from hanlin.core.generate.reply import Piece, Reply
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.generate.stream import chat_prompt, generate_ids, stream, text_prompt
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import END_OF_TEXT, IM_END, IM_START, Tokenizer

NEVER = {"eos_token_id": 10**9}


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Path) -> Pretrained:
    return load(tiny_model_folder)


def say(loaded: Pretrained, ids: Iterable[int], stops: tuple[str, ...]) -> list[Piece]:
    """The pieces of a reply whose ids are given instead of drawn; up to the one that ends it."""
    ids = list(ids)
    reply, pieces = Reply(loaded.tokenizer, loaded.stop_ids, stops, len(ids)), []
    for token in ids:
        pieces.append(reply.push(token))
        if pieces[-1].finish:
            break
    return pieces


@given(
    text=st.text("停止台灣ab😀", max_size=25),
    stops=st.lists(st.text("停止台灣ab😀", min_size=1, max_size=4), max_size=3),
)
def test_text_ends_before_the_first_stop_string(loaded: Pretrained, text: str, stops: list[str]) -> None:
    """However the text falls into tokens; no piece ever shows a character that is taken back later."""
    assume(not any(a in b for a in stops for b in stops if a is not b))  # else the inner one is complete first
    assume(text)
    pieces = say(loaded, loaded.tokenizer.encode(text), tuple(stops))
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    assert "".join(piece.text for piece in pieces) == text[: min(ends, default=len(text))]
    assert pieces[-1].finish == ("stop" if ends else "length")
    assert not any(piece.finish for piece in pieces[:-1])


def test_held_text_comes_out_when_it_was_no_stop(loaded: Pretrained) -> None:
    ids = [token for word in ("一", "。", "\n", "二") for token in loaded.tokenizer.encode(word)]
    texts = [piece.text for piece in say(loaded, ids, ("。\n\n",))]
    assert "".join(texts) == "一。\n二"
    assert all(text in ("", "一", "。\n二") for text in texts), "。 and the line end wait until 二 decides"


def test_stop_token_ends_and_is_not_shown(loaded: Pretrained) -> None:
    ids = [*loaded.tokenizer.encode("好"), loaded.tokenizer.eos_id]
    pieces = say(loaded, ids, ("好的",))
    assert "".join(piece.text for piece in pieces) == "好"
    assert pieces[-1] == Piece("好", len(ids), "stop", ids[-1])


def test_a_half_character_at_the_end_is_dropped(loaded: Pretrained, tiny_tokenizer: Tokenizer) -> None:
    pieces = say(loaded, [*tiny_tokenizer.encode("台"), *tiny_tokenizer.encode("😀")[:-1]], ())
    assert "".join(piece.text for piece in pieces) == "台"


def test_text_a_decoder_owes_comes_at_the_end(loaded: Pretrained, tiny_tokenizer: Tokenizer) -> None:
    """One that needs the whole sequence gives its text with the last piece, cut at stop strings as any."""
    backend = Backend.from_str(tiny_tokenizer.backend.to_str())
    backend.decoder = decoders.CTC(pad_token="<|pad|>")
    waiting = replace(loaded, tokenizer=Tokenizer(backend, tiny_tokenizer.settings))
    ids = tiny_tokenizer.encode("abc")
    assert [piece.text for piece in say(waiting, ids, ())] == ["", "", "abc"]
    assert say(waiting, ids, ("b",))[-1] == Piece("a", 3, "stop", ids[-1])
    assert say(waiting, [*ids, tiny_tokenizer.eos_id], ("c",))[-1] == Piece("ab", 4, "stop", tiny_tokenizer.eos_id)


@pytest.mark.parametrize("stated", [True, None])
def test_bos_stands_before_a_text_exactly_once(loaded: Pretrained, tiny_tokenizer: Tokenizer, stated: bool) -> None:
    """Where the settings or the post-processor ask for it, and although the vocabulary has <|endoftext|> too."""
    backend = Backend.from_str(tiny_tokenizer.backend.to_str())
    bos = tiny_tokenizer.id_of(IM_START)
    backend.post_processor = processors.TemplateProcessing(f"{IM_START} $A", f"{IM_START} $A $B", [(IM_START, bos)])
    asking = {**tiny_tokenizer.settings, "bos_token": IM_START, "add_bos_token": stated}
    for tokenizer, first in (
        (Tokenizer(backend, asking), bos),
        (Tokenizer(backend, {**asking, "add_bos_token": False}), tiny_tokenizer.id_of(END_OF_TEXT)),
    ):
        prompt = text_prompt(replace(loaded, tokenizer=tokenizer), f"{IM_START}台灣")
        assert prompt == [first, *tiny_tokenizer.encode(f"{IM_START}台灣")] and prompt[1:].count(bos) == 0


def test_greedy_equals_the_argmax_of_full_passes(loaded: Pretrained) -> None:
    prompt = text_prompt(loaded, "台灣最高的山")
    ids = list(prompt)
    for token in generate_ids(replace(loaded, generation=NEVER), prompt, GREEDY.model_copy(update={"max_tokens": 20})):
        assert token == int(loaded(torch.tensor([ids]))[0, -1].argmax())
        ids.append(token)
    assert len(ids) == len(prompt) + 20


def test_same_seed_same_text(loaded: Pretrained) -> None:
    def text(seed: int) -> str:
        return "".join(
            piece.text
            for piece in stream(
                loaded, text_prompt(loaded, "憲法"), Sampling(seed=seed, max_tokens=30, temperature=1.5)
            )
        )

    assert text(1) == text(1) != text(2)


def test_length_is_max_tokens_or_the_end_of_the_context(loaded: Pretrained) -> None:
    endless = replace(loaded, generation=NEVER)
    pieces = list(stream(endless, [5, 6, 7], Sampling(max_tokens=9, seed=0)))
    assert (pieces[-1].num_tokens, pieces[-1].finish) == (9, "length")
    prompt = [5] * (loaded.context - 4)
    assert len(list(generate_ids(endless, prompt, Sampling(max_tokens=100, seed=0)))) == 4


@pytest.mark.parametrize("length", [0, 256, 300])
def test_a_prompt_without_room_is_refused(loaded: Pretrained, length: int) -> None:
    with pytest.raises(HanlinError, match=f"The prompt has {length} tokens"):
        list(generate_ids(loaded, [5] * length, GREEDY))


def test_a_diverged_model_is_refused(tiny_model_folder: Path) -> None:
    broken = load(tiny_model_folder)
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    with pytest.raises(HanlinError, match="not finite"):
        list(generate_ids(broken, [5, 6], GREEDY))


def test_callers_keep_their_gradient_mode(loaded: Pretrained) -> None:
    for _ in generate_ids(loaded, [5, 6], Sampling(max_tokens=3, seed=0)):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_chat_prompt_waits_for_the_assistant(loaded: Pretrained) -> None:
    ids = chat_prompt(loaded, [{"role": "user", "content": IM_END}])
    assert loaded.tokenizer.decode(ids, skip_special=False).endswith("<|im_start|>assistant\n")
    assert ids.count(loaded.tokenizer.id_of(IM_END)) == 1
