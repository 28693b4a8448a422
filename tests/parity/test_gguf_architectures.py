"""Every architecture we write for llama.cpp: what is written comes back, and llama.cpp continues as we do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_server import exact_llama_cpp
from samples import SENTENCES
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.stream import generate_ids
from hanlin.core.model import pooling
from hanlin.core.model.equality import difference
from hanlin.core.model.families import bert, gemma3, gpt2, llama, qwen2, qwen3, qwen3_moe
from hanlin.core.model.ggml import F32, TYPES
from hanlin.core.model.gguf.architectures import known_architectures
from hanlin.core.model.gguf.writing import Source, parameters_of, write_gguf
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import END_OF_TEXT, IM_END, Tokenizer

BASE: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 32}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (llama, {**BASE, "tie_word_embeddings": False}),
    "llama with llama3 rope": (llama, {**BASE, "rope_parameters": LLAMA3}),
    "llama with linear rope": (llama, {**BASE, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}),
    "qwen2": (qwen2, {**BASE, "head_dim": 16}),
    "qwen2 with yarn": (qwen2, {**BASE, "head_dim": 16, "rope_parameters": YARN}),
    "qwen3": (qwen3, BASE),
    "qwen3moe": (
        qwen3_moe,
        {
            **BASE,
            "moe_intermediate_size": 32,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
        },
    ),
    "gemma3": (
        gemma3,
        {
            **{key: value for key, value in BASE.items() if key != "hidden_act"},
            "num_hidden_layers": 7,
            "sliding_window": 16,
            "query_pre_attn_scalar": 32,
            "hidden_activation": "gelu_pytorch_tanh",
        },
    ),
    "gpt2": (
        gpt2,
        {
            "vocab_size": 500,
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 128,
            "n_inner": 96,
            "layer_norm_epsilon": 1e-5,
            "activation_function": "gelu_new",
        },
    ),
}


def random_model(family: Any, config: dict[str, Any]) -> Any:
    """Matrices with a large spread: logits then differ by more than rounding, and greedy tokens mean something."""
    random = torch.Generator().manual_seed(5)
    model = family.build(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.empty(parameter.shape).normal_(0, 0.25, generator=random)
            is_norm = "norm" in name and name.endswith("weight") and family is not gemma3
            parameter.copy_(1 + noise / 4 if is_norm else noise)
    return model.eval()


@pytest.fixture(scope="module", params=MODELS)
def written(
    request: pytest.FixtureRequest, tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    family, config = MODELS[request.param]
    model = random_model(family, {"architectures": [*family.ARCHITECTURES], **config})
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_gguf(path, Source(family, model, parameters_of(model), tiny_tokenizer, "tiny"), F32)
    return path, model


def test_what_is_written_comes_back(written: tuple[Path, Any], tiny_tokenizer: Tokenizer) -> None:
    path, model = written
    again = open_model(path, torch.float32)
    ids = torch.randint(500, (2, 40), generator=torch.manual_seed(0))
    with torch.inference_mode():
        assert difference(again(ids), model(ids)) <= 1e-5
    assert again.context == model.max_positions and bool(again.model.tied) == bool(model.tied)
    assert [again.tokenizer.encode(line) for line in SENTENCES] == [tiny_tokenizer.encode(line) for line in SENTENCES]


def test_llama_cpp_continues_the_same(written: tuple[Path, Any]) -> None:
    """Greedy tokens of the F32 file on every prompt that is not a coin toss on its way."""
    path, _ = written
    ours, compared = open_model(path, torch.float32), 0
    stops = {ours.tokenizer.id_of(END_OF_TEXT), ours.tokenizer.id_of(IM_END)}
    ours = replace(ours, generation={"eos_token_id": sorted(stops)})
    with exact_llama_cpp(path) as complete:
        for sentence in SENTENCES[:16]:
            prompt = ours.tokenizer.encode(sentence[:8])
            reply = list(generate_ids(ours, prompt, GREEDY.model_copy(update={"max_tokens": 48})))
            with torch.inference_mode():
                best = ours.model(torch.tensor([prompt + reply]))[0, len(prompt) - 1 : -1].topk(2).values
            if len(reply) < 48 or (best[:, 0] - best[:, 1]).min() < 0.002 * best.std():
                continue
            assert complete(prompt, 48)[0] == reply, sentence
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("kind", ["bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"])
def test_llama_cpp_opens_every_type_and_reads_our_numbers(kind: str, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Rows of 256, so that K-quants fill their blocks; the likeliest next tokens are those of the dequantised model."""
    config = {**BASE, "architectures": ["Qwen3ForCausalLM"], "hidden_size": 256, "intermediate_size": 256}
    model, path = random_model(qwen3, config), tmp_path / "model.gguf"
    write_gguf(path, Source(qwen3, model, parameters_of(model), tiny_tokenizer), TYPES[kind])
    ours, same = open_model(path, torch.float32), 0
    with exact_llama_cpp(path) as complete:
        for sentence in SENTENCES[:8]:
            prompt = ours.tokenizer.encode(sentence[:8])
            with torch.inference_mode():
                same += complete(prompt, 1)[0] == [int(ours.model(torch.tensor([prompt]))[0, -1].argmax())]
    assert same >= 7, "llama.cpp rounds activations to 8 bits: a toss may fall the other way"


def chinese_wordpiece() -> Tokenizer:
    """bert-base-chinese in small: one character a token."""
    characters = sorted({character for sentence in SENTENCES for character in sentence if character.strip()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, "##a", "the", "cat"]
    vocab = {word: place for place, word in enumerate(dict.fromkeys(words))}
    backend = Backend(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    return Tokenizer(backend, {**names, "mask_token": "[MASK]", "bos_token": "[CLS]", "eos_token": "[SEP]"})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any, Tokenizer]]:
    tokenizer = chinese_wordpiece()
    config = {
        "architectures": ["BertModel"],
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
    }
    model = random_model(bert, config)
    path = tmp_path_factory.mktemp("bert") / "model.gguf"
    write_gguf(path, Source(bert, model, parameters_of(model), tokenizer), F32)
    yield path, model, tokenizer


def test_an_encoder_comes_back(encoder: tuple[Path, Any, Tokenizer]) -> None:
    path, model, tokenizer = encoder
    again: Pretrained = open_model(path, torch.float32)
    ids = torch.randint(tokenizer.vocab_size, (2, 20))
    with torch.inference_mode():
        assert difference(again(ids), model(ids)) <= 1e-5
    lines = [sentence for sentence in SENTENCES if sentence.isprintable()]
    assert [again.tokenizer.encode(line) for line in lines] == [tokenizer.encode(line) for line in lines]


def test_llama_cpp_gives_the_same_sentence_embeddings(encoder: tuple[Path, Any, Tokenizer]) -> None:
    path, model, tokenizer = encoder
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path, params.embedding = str(path), True
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_gpu_layers = 128, 128, 128, 0
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    for sentence in SENTENCES[:6]:
        answer = server.handle_embeddings({"input": sentence, "model": "x"})
        theirs = torch.tensor(answer["data"][0]["embedding"])
        ids = torch.tensor([[2, *tokenizer.encode(sentence), 3]])
        with torch.inference_mode():
            ours = pooling.unit(pooling.mean(model.hidden(ids), torch.ones_like(ids, dtype=torch.bool)))[0]
        assert float(theirs @ ours) > 0.9999, sentence


def test_what_llama_cpp_can_not_run_is_refused(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    def refused(family: Any, config: dict[str, Any]) -> str:
        with pytest.raises(HanlinError) as caught:
            model = family.build({"architectures": [*family.ARCHITECTURES], **config})
            write_gguf(tmp_path / "x.gguf", Source(family, model, parameters_of(model), tiny_tokenizer), F32)
        assert not (tmp_path / "x.gguf").exists()
        return str(caught.value)

    from hanlin.core.model.families import olmo2

    assert "Olmo2ForCausalLM are not written" in refused(olmo2, BASE)
    assert "use_sliding_window" in refused(qwen3, {**BASE, "use_sliding_window": True, "sliding_window": 8})
    assert "rope_type dynamic" in refused(llama, {**BASE, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0}})
    assert "norm_topk_prob" in refused(*_changed("qwen3moe", norm_topk_prob=False))
    assert "layer_types" in refused(*_changed("gemma3", sliding_window_pattern=3))
    assert "scale_attn_by_inverse_layer_idx" in refused(*_changed("gpt2", scale_attn_by_inverse_layer_idx=True))


def _changed(name: str, **values: Any) -> tuple[Any, dict[str, Any]]:
    family, config = MODELS[name]
    return family, {**config, **values}


def test_every_architecture_is_tested() -> None:
    assert {name.split()[0] for name in MODELS} | {"bert"} == set(known_architectures())
