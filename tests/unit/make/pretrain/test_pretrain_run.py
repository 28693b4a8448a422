"""The room with every objective: what it writes opens in transformers, training goes on from it, and what does not fit
is said before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SENTENCES
from toy import PRETRAIN, TOKENIZE, write_texts
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5TokenizerFast,
)
from transformers.utils import logging

from hanlin.core.model.families import bert
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import save_model
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.workflow import make

logging.disable_progress_bar()
logging.set_verbosity_error()

OBJECTIVES = ("causal", "masked", "span_corruption")
METHODS = {"causal": "qwen3", "masked": "bert", "span_corruption": "t5"}
TRAIN = {"steps": 6, "batch_rows": 4, "compile": "off", "dtype": "float32"}
SAMPLES = {key: value for key, value in PRETRAIN.items() if key.startswith("sample")}


def values_for(objective: str, **more: Any) -> dict[str, Any]:
    samples = SAMPLES if objective == "causal" else {}
    return {"objective": objective, "model": {"depth": 1, "context": 48}, "train": TRAIN, **samples, **more}


class Made:
    """Finished toy artifacts, and the events of each run."""

    def __init__(self, folder: Path):
        self.folder = folder
        texts, old = write_texts(folder / "texts"), write_texts(folder / "old-texts", 20)
        self.corpus = make("collect", {"sources": str(texts), "heldout_share": 0.2}, folder / "corpus")
        self.old = make("collect", {"sources": str(old), "heldout_share": 0.2}, folder / "old")
        self.tokenizer = make("tokenize", {"corpus": str(self.corpus.path), **TOKENIZE}, folder / "tokenizer")
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.base = {objective: self.pretrain(objective, tokenizer=self.tokenizer.path) for objective in OBJECTIVES}

    def pretrain(self, objective: str, name: str = "", **values: Any) -> Artifact:
        name = name or objective
        events = self.events.setdefault(name, [])
        given = values_for(objective, corpus=str(self.corpus.path))
        given |= {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
        return make("pretrain", given, self.folder / name, (events.append,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    yield Made(tmp_path_factory.mktemp("pretrain"))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_learns_and_says_what_it_measured(made: Made, objective: str) -> None:
    found, events = made.base[objective], made.events[objective]
    metrics = found.manifest.metrics
    assert found.manifest.method == METHODS[objective] and metrics["steps"] == 6
    if objective == "causal":
        assert len([e for e in events if e["event"] == "sample"]) == 5 and metrics["heldout_bpc"] > 0
        return
    losses = [event["loss"] for event in events if event["event"] == "heldout"]
    assert len(losses) == 5 and losses[-1] < losses[0]
    assert metrics["heldout_loss"] == pytest.approx(losses[-1]) and "heldout_bpc" not in metrics
    steps = [event for event in events if event["event"] == "step"]
    assert all("bpc" not in event for event in steps) and not [e for e in events if e["event"] in ("sample", "note")]


@torch.inference_mode()
def test_a_masked_model_opens_in_transformers(made: Made) -> None:
    """Equal logits, the mask token by its name, and texts that begin as in training."""
    path = made.base["masked"].path
    theirs, ours = AutoModelForMaskedLM.from_pretrained(path), open_model(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert type(theirs) is BertForMaskedLM and theirs.config.pad_token_id == tokenizer.pad_token_id
    given = tokenizer(["台灣最高的山是<|mask|>山", "今天"], padding=True, return_tensors="pt")
    assert tokenizer.mask_token_id == ours.tokenizer.id_of("<|mask|>") in given["input_ids"][0]
    assert given["input_ids"][0, 0] == ours.tokenizer.document_id
    present = given["attention_mask"].bool()
    found = ours.model(given["input_ids"], present)
    torch.testing.assert_close(found[present], theirs(**given).logits[present], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_span_model_opens_in_transformers(made: Made) -> None:
    """Equal logits, sentinels by their names, texts that end as in training, and generation from the right start."""
    path = made.base["span_corruption"].path
    theirs, ours = AutoModelForSeq2SeqLM.from_pretrained(path), open_model(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert type(theirs) is T5ForConditionalGeneration
    given = tokenizer("台灣最高的<extra_id_0>是玉山", return_tensors="pt")
    ids = given["input_ids"]
    assert tokenizer.convert_tokens_to_ids("<extra_id_0>") in ids[0] and ids[0, -1] == ours.tokenizer.eos_id
    target = torch.tensor([[ours.tokenizer.pad_id, *ours.tokenizer.encode("山")]])
    found = theirs(**given, decoder_input_ids=target).logits
    torch.testing.assert_close(ours.model(ids, target), found, atol=1e-5, rtol=1e-5)
    written = theirs.generate(**given, max_new_tokens=3, do_sample=False)
    assert written[0, 0] == ours.tokenizer.pad_id == ours.model.config["decoder_start_token_id"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_goes_on_from_a_model_with_replay(made: Made, objective: str) -> None:
    """The tokenizer comes from the base; the loss begins where it was; the old corpus has its share of the rows."""
    base = made.base[objective]
    train = {**TRAIN, "steps": 5}
    name = f"{objective}-more"
    options: dict[str, Any] = {"base": base.path, "replay": made.old.path, "replay_share": 0.25}
    more = made.pretrain(objective, name, model={"context": 32}, train=train, **options)
    events = made.events[name]
    figure = "bpc" if objective == "causal" else "loss"
    measured = [event[figure] for event in events if event["event"] == "heldout"]
    before = [e[figure] for e in made.events[objective] if e["event"] == "heldout"]
    assert measured[0] < (before[0] + before[-1]) / 2
    steps = [event for event in events if event["event"] == "step"]
    assert len(steps) == 5 and more.manifest.method == METHODS[objective]
    names = [entry["name"] for entry in more.manifest.inputs]
    assert names == ["corpus", "base", "replay"]
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert more.file(file).read_text(encoding="utf-8") == base.file(file).read_text(encoding="utf-8")
    config = json.loads(more.file("config.json").read_text(encoding="utf-8"))
    assert config == json.loads(base.file("config.json").read_text(encoding="utf-8"))
    open_model(more.path)


def test_the_base_s_own_shards_are_used_where_they_are(made: Made) -> None:
    again = made.pretrain(
        "causal", "again", base=made.base["causal"].path, tokenizer=made.tokenizer.path, model={"context": 32}
    )
    assert not again.file("tokens").exists()


def test_one_seed_gives_the_same_bits(made: Made) -> None:
    for objective in ("masked", "span_corruption"):
        again = made.pretrain(objective, f"{objective}-again", tokenizer=made.tokenizer.path)
        assert again.manifest.files["model.safetensors"] == made.base[objective].manifest.files["model.safetensors"]


def test_gentler_rates_unless_given(made: Made) -> None:
    from hanlin.core.run.config import build
    from hanlin.make.pretrain import causal
    from hanlin.make.pretrain.beginning import begin
    from hanlin.make.pretrain.config import Pretrain

    inputs = {"base": made.base["causal"]}
    for train, rates in (({}, (0.002, 0.0003)), ({"matrix_rate": 0.5, "embedding_rate": 0.25}, (0.5, 0.25))):
        values = {"model": {"context": 32}, "train": {"dtype": "float32", "steps": 3, **train}}
        config, _ = begin(build(Pretrain, values, "pretrain"), causal, inputs, made.folder)
        assert (config.train.rate_of_matrices, config.train.rate_of_the_rest) == pytest.approx(rates)
        assert config.train.steps == 3


@pytest.mark.parametrize(
    ("objective", "values", "said"),
    [
        ("causal", {}, "pretrain needs tokenizer=… or base=…"),
        ("masked", {"base": "causal"}, "objective=masked trains encoders; the base model, Qwen3ForCausalLM, is none"),
        ("causal", {"base": "span_corruption"}, "the base model, T5ForConditionalGeneration, is none"),
        ("causal", {"base": "causal"}, "model.context=64 is more than the base model reads at once"),
        ("causal", {"base": "causal", "model": {"depth": 2}}, "model.depth sizes a new model"),
        ("masked", {"base": "masked", "tokenizer": True, "model": {"context": 32}}, "not the base model's"),
        ("masked", {"tokenizer": True, "model": {"kv_heads": 1, "context": 48}}, "model.kv_heads is for a decoder"),
        (
            "causal",
            {"tokenizer": True, "model": {"context": 4096}},
            r"The corpus has [\d,]+ tokens; one context is 4096",
        ),
    ],
)
def test_what_does_not_fit_is_said(made: Made, objective: str, values: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"model": {"context": 64}, **values}
    if "base" in given:
        given["base"] = made.base[given["base"]].path
    if "tokenizer" in given:
        given["tokenizer"] = made.tokenizer.path
    with pytest.raises(HanlinError, match=said):
        made.pretrain(objective, "refused", **given)


def foreign_bert(folder: Path) -> Path:
    """As hubs have it: WordPiece with [CLS], [SEP] and [MASK], no token that ends a text."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {token: number for number, token in enumerate([*marks, *sorted(set("".join(SENTENCES)))])}
    BertTokenizerFast(vocab=vocab).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def foreign_t5(folder: Path) -> Path:
    """SentencePiece's Unigram with </s> and a hundred sentinels counted down to the vocabulary's end."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(character, -4.0) for character in sorted(set("".join(SENTENCES)) - {" ", "\n"})]
    T5TokenizerFast(vocab=pieces).save_pretrained(folder)
    config = T5Config(
        vocab_size=len(pieces) + 100, d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("objective", "foreign"), [("masked", foreign_bert), ("span_corruption", foreign_t5)])
def test_training_goes_on_from_a_model_of_others(
    made: Made, tmp_path: Path, objective: str, foreign: Callable[[Path], Path]
) -> None:
    folder = foreign(tmp_path)
    more = made.pretrain(objective, foreign.__name__, base=folder, model={"context": 32})
    losses = [event["loss"] for event in made.events[foreign.__name__] if event["event"] == "heldout"]
    assert losses[-1] < losses[0]
    auto = AutoModelForMaskedLM if objective == "masked" else AutoModelForSeq2SeqLM
    theirs, before = (auto.from_pretrained(path) for path in (more.path, folder))
    assert type(theirs) is type(before) and theirs.num_parameters() == before.num_parameters()
    tokenizer, was = AutoTokenizer.from_pretrained(more.path), AutoTokenizer.from_pretrained(folder)
    assert tokenizer("台灣最高的山")["input_ids"] == was("台灣最高的山")["input_ids"]


def test_an_encoder_without_a_head_is_refused(made: Made, tmp_path: Path) -> None:
    ours = open_model(made.base["masked"].path)
    model = bert.build({**ours.model.config, "architectures": ["BertModel"]})
    save_model(tmp_path, model, bert)
    ours.tokenizer.save(tmp_path)
    with pytest.raises(HanlinError, match="no head for hidden tokens"):
        made.pretrain("masked", "refused", base=tmp_path, model={"context": 32})


def test_options_that_are_not_used_are_named(made: Made) -> None:
    made.pretrain("causal", "noted", tokenizer=made.tokenizer.path, span_tokens=4.0, replay_share=0.5)
    notes = [event["text"] for event in made.events["noted"] if event["event"] == "note"]
    assert notes == ["Not used with these inputs and this objective: replay_share, span_tokens."]
