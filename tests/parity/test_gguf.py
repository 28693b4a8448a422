"""Our GGUF files are what the gguf package and llama.cpp (by xllamacpp) expect: bytes, tensors, ids, greedy tokens."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGUFReader, quants
from samples import CONVERSATIONS, SENTENCES, varied_lines

from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.stream import generate_ids
from hanlin.core.model import ggml
from hanlin.core.model.gguf.writing import as_stored, export_gguf, stored_tensors
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.text.chat import render
from hanlin.core.text.tokenizer import END_OF_TEXT, IM_END

Post = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Path) -> Pretrained:
    return load(tiny_model_folder)


@pytest.fixture(scope="module", params=["f32", "f16", "q8_0"])
def written(
    request: pytest.FixtureRequest, loaded: Pretrained, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ggml.TensorType]:
    kind = ggml.TYPES[request.param]
    path = tmp_path_factory.mktemp("gguf") / f"{kind.name}.gguf"
    assert export_gguf(path, loaded, kind, name="小翰林", licence="apache-2.0") == path.stat().st_size
    return path, kind


def test_gguf_package_reads_every_tensor(written: tuple[Path, ggml.TensorType], loaded: Pretrained) -> None:
    path, kind = written
    stored = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    expected = dict(as_stored(loaded, kind).named_parameters())
    names = {each.parts[0][0]: each.name for each in stored_tensors(loaded.model, loaded.family, kind)}
    assert stored.keys() == set(names.values()) and names.keys() == expected.keys()
    for name, weight in expected.items():
        tensor = stored[names[name]]
        assert tensor.tensor_type == (ggml.F32 if weight.ndim == 1 else kind).number
        values = quants.dequantize(tensor.data, tensor.tensor_type).reshape(weight.shape)
        assert np.array_equal(values, weight.detach().numpy()), name
    if kind is ggml.F32:
        assert all(torch.equal(weight, expected[name]) for name, weight in loaded.model.named_parameters())


def test_gguf_package_reads_the_metadata(written: tuple[Path, ggml.TensorType], loaded: Pretrained) -> None:
    path, kind = written
    fields = {name: field.contents() for name, field in GGUFReader(path).fields.items()}
    tokenizer = loaded.tokenizer
    assert (fields["general.architecture"], fields["general.name"], fields["general.license"]) == (
        "qwen3",
        "小翰林",
        "apache-2.0",
    )
    assert (
        fields["general.file_type"]
        == {
            "f32": gguf.LlamaFileType.ALL_F32,
            "f16": gguf.LlamaFileType.MOSTLY_F16,
            "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
        }[kind.name]
    )
    assert fields["qwen3.attention.key_length"] == loaded.model.config["head_dim"]
    assert fields["tokenizer.ggml.tokens"] == [tokenizer.backend.id_to_token(i) for i in range(tokenizer.vocab_size)]
    control = [i for i, number in enumerate(fields["tokenizer.ggml.token_type"]) if number == gguf.TokenType.CONTROL]
    assert set(control) == tokenizer.special_ids
    assert (
        fields["tokenizer.ggml.eos_token_id"]
        == tokenizer.eos_id
        != fields["tokenizer.ggml.padding_token_id"]
        == tokenizer.pad_id
    )
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.chat_template"] == tokenizer.chat_template
    known = set(gguf.TensorNameMap(gguf.MODEL_ARCH.QWEN3, 2).mapping)
    assert {"token_embd", "blk.1.attn_k_norm"} <= known


@pytest.fixture(scope="module")
def llama_cpp(loaded: Pretrained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """A llama.cpp server on the F16 file: POST path, body → answer."""
    xllamacpp = pytest.importorskip("xllamacpp")
    path = tmp_path_factory.mktemp("llama") / "model.gguf"
    export_gguf(path, loaded, ggml.F16)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_gpu_layers, params.cpuparams.n_threads = loaded.context, 0, 1
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 0
    # Our cache is float32 and our attention sums in it.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    address = server.listening_address

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    yield post
    del server


def test_llama_cpp_has_the_same_ids(llama_cpp: Post, loaded: Pretrained) -> None:
    for line in varied_lines():
        theirs = llama_cpp("/tokenize", {"content": line, "add_special": True, "parse_special": False})["tokens"]
        assert theirs == loaded.tokenizer.encode(line), line


def test_llama_cpp_renders_the_same_conversations(llama_cpp: Post, loaded: Pretrained) -> None:
    """Its own Jinja on the stored template, then its tokenizer, gives the ids of our renderer."""
    for conversation in (c for c in CONVERSATIONS if c[-1]["role"] == "user" or len(c) > 1):
        asked = conversation if conversation[-1]["role"] == "user" else conversation[:-1]
        prompt = llama_cpp("/apply-template", {"messages": asked})["prompt"]
        theirs = llama_cpp("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"]
        assert theirs == render(asked, loaded.tokenizer, add_generation_prompt=True).ids, asked


def test_llama_cpp_continues_the_same(llama_cpp: Post, loaded: Pretrained) -> None:
    """64 greedy tokens of the F16 file, on every prompt that is not a coin toss.

    llama.cpp rounds activations to F16 before multiplying them with F16 weights, so logits differ by about a thousandth
    of their spread. A prompt on whose way the two best logits come closer than `clear` says nothing and is left out.
    """
    clear, compared = 0.01, 0
    stops = {loaded.tokenizer.id_of(END_OF_TEXT), loaded.tokenizer.id_of(IM_END)}  # llama.cpp stops at any of them
    ours = replace(loaded, model=as_stored(loaded, ggml.F16), generation={"eos_token_id": sorted(stops)})
    for sentence in SENTENCES:
        prompt = loaded.tokenizer.encode(sentence[:8])
        reply = list(generate_ids(ours, prompt, GREEDY.model_copy(update={"max_tokens": 64})))
        with torch.inference_mode():
            best = ours.model(torch.tensor([prompt + reply]))[0, len(prompt) - 1 : -1].topk(2).values
        if len(reply) < 64 or (best[:, 0] - best[:, 1]).min() < clear:
            continue
        body = {
            "prompt": prompt,
            "n_predict": 64,
            "samplers": ["top_k"],
            "top_k": 1,
            "return_tokens": True,
            "cache_prompt": False,
        }
        assert llama_cpp("/completion", body)["tokens"] == reply, sentence
        compared += 1
    assert compared >= 4
