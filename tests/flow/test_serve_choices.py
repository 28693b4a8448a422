"""Several replies and prompts at once, forms, and log-probabilities, by the official client and a real tiny model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import openai
import pytest
import torch
from pydantic import BaseModel
from serving import HOLDING, Running, Script, client_of, running, scripted

import hanlin
from hanlin.core.generate.stream import chat_prompt
from hanlin.core.text.tokenizer import Tokenizer

MESSAGES = [{"role": "user", "content": "人民有無集會之自由？"}]
WARM = {"model": "tiny", "max_tokens": 12, "temperature": 1.0}


@pytest.fixture(scope="module")
def server(tiny_model_folder: Path) -> Iterator[Running]:
    with running(hanlin.load(tiny_model_folder), engine={"max_streams": 4}) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def test_n_replies_have_seeds_one_after_another(client: openai.OpenAI):
    create = client.chat.completions.create
    together = create(**WARM, messages=MESSAGES, n=3, seed=5)
    alone = [create(**WARM, messages=MESSAGES, seed=5 + place) for place in range(3)]
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    said = [choice.message.content for choice in together.choices]
    assert said == [reply.choices[0].message.content for reply in alone] and len(set(said)) == 3
    assert together.usage.completion_tokens == sum(reply.usage.completion_tokens for reply in alone)
    assert together.usage.prompt_tokens == alone[0].usage.prompt_tokens


def test_n_replies_stream_interleaved(client: openai.OpenAI):
    whole = client.chat.completions.create(**WARM, messages=MESSAGES, n=2, seed=5)
    chunks = client.chat.completions.create(
        **WARM, messages=MESSAGES, n=2, seed=5, stream=True, stream_options={"include_usage": True}
    )
    said, finished, order = ["", ""], {}, []
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
            order += [choice.index] if choice.delta.content else []
            if choice.finish_reason:
                finished[choice.index] = choice.finish_reason
    assert said == [choice.message.content for choice in whole.choices]
    assert finished == {choice.index: choice.finish_reason for choice in whole.choices}
    assert order != sorted(order), "both are written at the same time"
    assert chunk.usage == whole.usage


def test_prompts_in_four_spellings(client: openai.OpenAI, tiny_tokenizer: Tokenizer):
    create = client.completions.create
    cold = {"model": "tiny", "max_tokens": 6, "temperature": 0}
    texts = ["人民之自由", "憲法"]
    ids = [[tiny_tokenizer.document_id, *tiny_tokenizer.encode(text)] for text in texts]
    alone = [create(**cold, prompt=text).choices[0].text for text in texts]
    assert [choice.text for choice in create(**cold, prompt=texts).choices] == alone
    assert [choice.text for choice in create(**cold, prompt=ids).choices] == alone
    assert create(**cold, prompt=ids[1]).choices[0].text == alone[1]
    twice = create(**cold, prompt=texts, n=2)
    assert [choice.text for choice in twice.choices] == [alone[0], alone[0], alone[1], alone[1]]
    assert twice.usage.prompt_tokens == sum(map(len, ids))


def test_echo_whole_and_streamed(client: openai.OpenAI):
    fields = {"model": "tiny", "prompt": "人民之自由", "max_tokens": 6, "temperature": 0}
    text = client.completions.create(**fields).choices[0].text
    assert client.completions.create(**fields, echo=True).choices[0].text == "人民之自由" + text
    chunks = client.completions.create(**fields, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "人民之自由" + text
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**fields, echo=True, logprobs=1)
    assert caught.value.param == "echo"


def test_logprobs_of_a_chat_are_the_models_own(
    client: openai.OpenAI, tiny_model_folder: Path, tiny_tokenizer: Tokenizer
):
    reply = client.chat.completions.create(**WARM, messages=MESSAGES, seed=3, logprobs=True, top_logprobs=3)
    told = reply.choices[0].logprobs.content
    spelled = b"".join(bytes(token.bytes) for token in told).decode(errors="replace")
    assert spelled.startswith(reply.choices[0].message.content)
    loaded = hanlin.load(tiny_model_folder)
    prompt = chat_prompt(loaded, MESSAGES)
    logprobs_V = loaded(torch.tensor([prompt]))[0, -1].double().log_softmax(-1)
    words = tiny_tokenizer.token_bytes
    best = logprobs_V.topk(3)
    assert [bytes(top.bytes) for top in told[0].top_logprobs] == [words[token] for token in best.indices.tolist()]
    assert [top.logprob for top in told[0].top_logprobs] == pytest.approx(best.values.tolist(), abs=1e-4)
    own = next(token for token, word in enumerate(words) if word == bytes(told[0].bytes))
    assert told[0].logprob == pytest.approx(float(logprobs_V[own]), abs=1e-4)


def test_logprobs_streamed_are_those_of_the_whole(client: openai.OpenAI):
    fields = {**WARM, "messages": MESSAGES, "seed": 3, "logprobs": True, "top_logprobs": 1}
    whole = client.chat.completions.create(**fields).choices[0].logprobs.content
    chunks = client.chat.completions.create(**fields, stream=True)
    streamed = [token for chunk in chunks if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert streamed == whole


def test_logprobs_of_a_text_in_the_older_shape(client: openai.OpenAI):
    fields = {"model": "tiny", "prompt": "人民", "max_tokens": 8, "seed": 3, "logprobs": 2}
    choice = client.completions.create(**fields).choices[0]
    told = choice.logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    assert told.text_offset[0] == 0 and told.text_offset == sorted(told.text_offset)
    assert all(len(tops) == 2 for tops in told.top_logprobs) and all(math.isfinite(n) for n in told.token_logprobs)
    chunks = client.completions.create(**fields, stream=True)
    parts = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    assert [token for part in parts for token in part.tokens] == told.tokens
    assert [offset for part in parts for offset in part.text_offset] == told.text_offset


def test_a_bias_forbids_and_demands(client: openai.OpenAI, tiny_tokenizer: Tokenizer):
    cold = {
        "model": "tiny",
        "prompt": "人民",
        "max_tokens": 4,
        "temperature": 0,
        "extra_body": {"repetition_penalty": 1},
    }
    wanted = tiny_tokenizer.encode("憲")[0]
    told = client.completions.create(**cold, logit_bias={str(wanted): 100}, logprobs=0).choices[0].logprobs
    assert len(set(told.tokens)) == 1
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**cold, logit_bias={"70000": 1})
    assert caught.value.param == "logit_bias"


class Weather(BaseModel):
    city: Literal["台北", "高雄"]
    rainy: bool


def test_a_reply_is_parsed_by_its_class(client: openai.OpenAI):
    reply = client.chat.completions.parse(
        model="tiny", messages=MESSAGES, max_tokens=60, seed=1, response_format=Weather
    )
    assert isinstance(reply.choices[0].message.parsed, Weather)


def test_forms_of_ours(client: openai.OpenAI):
    def say(**form: object) -> str:
        reply = client.chat.completions.create(**{**WARM, "max_tokens": 60}, messages=MESSAGES, seed=2, extra_body=form)
        return reply.choices[0].message.content

    assert say(choices=["合憲", "違憲"]) in ("合憲", "違憲")
    assert say(regex="[0-9]{4}").isdecimal()
    json.loads(say(json_schema={"enum": [1, 2]}))


@pytest.mark.parametrize(
    "form, reason",
    [
        ({"json_schema": {"type": "string", "format": "nonsense"}}, "format"),
        ({"json_schema": {"if": {"const": 1}, "then": False}}, "Unimplemented"),
        ({"regex": "(?=a)b"}, "look"),
        ({"grammar": "start: ("}, "grammar"),
        ({"json_schema": "{"}, "json_schema"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_form_that_is_not_supported_is_a_400_with_the_reason(
    client: openai.OpenAI, form: dict, reason: str, stream: bool
):
    with pytest.raises(openai.BadRequestError, match=reason):
        client.chat.completions.create(**WARM, messages=MESSAGES, extra_body=form, stream=stream)


def test_repeated_words_can_be_punished(client: openai.OpenAI):
    for fields in ({"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        client.chat.completions.create(**WARM, messages=MESSAGES, **fields)
    for fields in ({"mirostat": 2}, {"typical_p": 0.5}, {"dry_multiplier": 1.0, "dry_breakers": ["。"]}):
        client.chat.completions.create(**WARM, messages=MESSAGES, extra_body=fields)
    with pytest.raises(openai.BadRequestError, match="top_k"):
        client.chat.completions.create(**WARM, messages=MESSAGES, extra_body={"mirostat": 2, "top_k": 3})


def test_more_replies_than_the_server_can_hold_are_refused(tiny_tokenizer: Tokenizer, tmp_path: Path):
    loaded = scripted(tiny_tokenizer, Script(), tmp_path)
    with running(loaded, engine={"max_streams": 2, "max_waiting": 1}) as small, client_of(small) as client:
        reply = client.chat.completions.create(model="tiny", messages=MESSAGES, n=3)
        assert [choice.message.content for choice in reply.choices] == [HOLDING] * 3
        with pytest.raises(openai.BadRequestError, match="4 of at most 3"):
            client.chat.completions.create(model="tiny", messages=MESSAGES, n=4)
        assert small.wait_until_idle()


def test_one_of_several_that_fails_ends_them_all(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with running(scripted(tiny_tokenizer, Script(broken_after=4), tmp_path)) as broken, client_of(broken) as client:
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="tiny", messages=MESSAGES, n=2)
        with pytest.raises(openai.APIError):
            list(client.chat.completions.create(model="tiny", messages=MESSAGES, n=2, stream=True))
        assert broken.wait_until_idle()
