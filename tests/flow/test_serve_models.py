"""Two models that write and an encoder in one server; tokens and vectors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from reference import ours_of, randomise
from serving import HOLDING, Running, Script, client_of, running, scripted
from transformers import AutoModel, BertConfig

import hanlin
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models, served_model

MESSAGES = [{"role": "user", "content": "人民有無集會之自由？"}]


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = BertConfig(vocab_size=tiny_tokenizer.vocab_size, max_position_embeddings=64, **shape)
    model, family = ours_of(randomise(AutoModel.from_config(config), 1))
    return Pretrained(model, tiny_tokenizer, family, tmp_path_factory.mktemp("encoder"), {})


@pytest.fixture(scope="module")
def server(
    tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory, encoder: Pretrained
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("several")
    other = scripted(tiny_tokenizer, Script(text="另一個模型。"), folder, context=100)
    with running(scripted(tiny_tokenizer, Script(), folder), others={"other": other, "vectors": encoder}) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def test_a_request_chooses_by_name(client: openai.OpenAI):
    def say(model: str) -> str:
        return client.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content

    assert (say("tiny"), say("other")) == (HOLDING, "另一個模型。")
    with pytest.raises(openai.NotFoundError, match="'tiny', 'other', 'vectors'"):
        say("third")


def test_the_models_are_listed(client: openai.OpenAI):
    cards = {card.id: card for card in client.models.list()}
    assert list(cards) == ["tiny", "other", "vectors"]
    assert cards["other"].context_length == 100 and not cards["other"].embeddings
    assert cards["vectors"].embeddings and not cards["vectors"].chat
    assert client.models.retrieve("other").id == "other"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("third")


def test_vectors_are_the_encoders_own(client: openai.OpenAI, encoder: Pretrained, tiny_tokenizer: Tokenizer):
    texts = ["人民之自由", "憲法"]
    expected = hanlin.embed(encoder, texts).numpy()
    reply = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    np.testing.assert_allclose([vector.embedding for vector in reply.data], expected, atol=1e-5)
    assert reply.usage.prompt_tokens == sum(map(len, tiny_tokenizer.encode_framed(texts)))
    # The client asks for base64 where nothing is said.
    plain = client.embeddings.create(model="vectors", input=texts[1])
    np.testing.assert_allclose(plain.data[0].embedding, expected[1], atol=1e-5)
    by_ids = client.embeddings.create(model="vectors", input=tiny_tokenizer.encode_framed(texts))
    np.testing.assert_allclose(by_ids.data[0].embedding, expected[0], atol=1e-5)


def test_base64_is_little_endian_float32(server: Running, encoder: Pretrained):
    asked = {"model": "vectors", "input": "憲法", "encoding_format": "base64"}
    told = httpx.post(f"{server.url}/v1/embeddings", json=asked).json()["data"][0]["embedding"]
    vector_C = np.frombuffer(base64.b64decode(told), "<f4")
    np.testing.assert_allclose(vector_C, hanlin.embed(encoder, ["憲法"]).numpy()[0], atol=1e-5)


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"model": "tiny"}, "model"),
        ({"dimensions": 3}, "dimensions"),
        ({"input": "憲法" * 3000}, "input"),
        ({"input": [[999_999]]}, "input"),
        ({"input": []}, "input"),
    ],
)
def test_vectors_that_cannot_be_had_are_a_clear_400(client: openai.OpenAI, fields: dict, param: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": "vectors", "input": "憲法", **fields})
    assert caught.value.param == param


def test_an_encoder_writes_no_text(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="vectors", messages=MESSAGES)
    assert caught.value.param == "model"


def test_tokens_there_and_back(server: Running, tiny_tokenizer: Tokenizer):
    def post(path: str, **body: object) -> httpx.Response:
        return httpx.post(f"{server.url}{path}", json=body)

    told = post("/tokenize", prompt="憲法", return_token_strs=True).json()
    ids = [tiny_tokenizer.document_id, *tiny_tokenizer.encode("憲法")]
    assert (told["tokens"], told["count"], told["max_model_len"]) == (ids, len(ids), 512)
    assert len(told["token_strs"]) == len(ids)
    bare = post("/tokenize", model="other", prompt="憲法", add_special_tokens=False).json()
    assert bare["tokens"] == ids[1:] and bare["max_model_len"] == 100
    assert post("/detokenize", tokens=bare["tokens"]).json() == {"prompt": "憲法"}
    chat = post("/tokenize", messages=MESSAGES).json()
    assert post("/detokenize", tokens=chat["tokens"]).json()["prompt"].endswith("<|im_start|>assistant\n")
    for wrong in ({}, {"prompt": "a", "messages": MESSAGES}, {"messages": []}, {"prompt": "a", "x": 1}):
        assert post("/tokenize", **wrong).status_code == 400
    assert post("/detokenize", tokens=[10**6]).status_code == 400
    assert post("/tokenize", model="third", prompt="a").status_code == 404


def test_two_models_of_one_name_are_refused(tiny_tokenizer: Tokenizer, tmp_path: Path):
    loaded, config = scripted(tiny_tokenizer, Script(), tmp_path), Serve()
    served = [served_model(loaded, "tiny", config) for _ in range(2)]
    try:
        with pytest.raises(HanlinError, match="Two models"):
            Models(served)
    finally:
        for model in served:
            model.backend.close()
