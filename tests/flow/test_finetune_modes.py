"""Every way of fine-tuning by the command line: what it trains, what it leaves alone, and that its folder is the model
that was trained, here, in PEFT and merged, whenever the run was killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from toy import FINETUNE, PRETRAIN, Answer, listening, result_of, steps_of, words_of
from transformers import AutoModelForCausalLM
from transformers.utils import logging

import hanlin
from hanlin.core.model.nf4 import dequantize, quantize, quantize_linears
from hanlin.core.model.opening import open_adapter, open_model
from hanlin.core.model.pretrained import save
from hanlin.core.run.artifact import Artifact, read_manifest
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.workflow import make

logging.disable_progress_bar()

# transformers' complaints about what PEFT does, and PEFT's about an adapted embedding that is tied.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing:FutureWarning", "ignore:Model has `tie_word_embeddings=True`:UserWarning"
)

Command = Callable[..., Answer]

IDS = torch.arange(24).view(2, 12)

ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"tune": "lora", "lora": {"rank": 4, "rate": 0.01}},
    "rslora and lora+": {
        "tune": "lora",
        "lora": {"rank": 8, "rate": 0.002, "rslora": True, "plus_ratio": 16, "dropout": 0.2},
    },
    "dora": {"tune": "lora", "lora": {"rank": 4, "rate": 0.01, "dora": True}},
    "with the embedding": {
        "tune": "lora",
        "lora": {"rank": 4, "rate": 0.01, "targets": ["all-linear", "embed_tokens"]},
    },
    "qlora": {"tune": "qlora", "lora": {"rank": 4, "rate": 0.01}},
}


class Made:
    """Fine-tuned models of a base of two blocks, each made when it is first asked for."""

    def __init__(self, life: Any, folder: Path):
        self.life, self.folder = life, folder
        values = {**PRETRAIN, "model": {**PRETRAIN["model"], "depth": 2, "width": 64}}
        inputs = {"corpus": str(life.corpus.path), "tokenizer": str(life.tokenizer.path)}
        self.base = make("pretrain", {**inputs, **values}, folder / "base")
        self.events: dict[str, list[dict[str, Any]]] = {}

    def words(self, out: Path, values: dict[str, Any]) -> list[str]:
        options = {**FINETUNE, **values, "train": {**FINETUNE["train"], **values.get("train", {})}}
        return [
            "finetune",
            f"model={self.base.path}",
            f"data={self.life.questions.path}",
            f"out={out}",
            *words_of(options),
        ]

    def tuned(self, name: str, values: dict[str, Any]) -> Artifact:
        events = self.events.setdefault(name, [])
        options = {**FINETUNE, **values, "train": {**FINETUNE["train"], **values.get("train", {})}}
        inputs = {"model": str(self.base.path), "data": str(self.life.questions.path)}
        return make("finetune", {**inputs, **options}, self.folder / name.replace(" ", "-"), (events.append,))

    def kinds(self, name: str, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events[name] if event["event"] == kind]


@pytest.fixture(scope="module")
def made(life, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(life, tmp_path_factory.mktemp("modes"))


def changed_from(base: Path, tuned: Path) -> set[str]:
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tuned))
    assert before.keys() == after.keys()
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def rounded(base: Path, folder: Path) -> Path:
    """The base with the numbers that its matrices' four bits stand for."""
    loaded = open_model(base, torch.float32)
    names = quantize_linears(open_model(base, torch.float32).model)
    with torch.no_grad():
        for name in names:
            weight = loaded.model.get_parameter(f"{name}.weight")
            weight.copy_(dequantize(quantize(weight), torch.float32))
    folder.mkdir()
    save(folder, loaded.model, loaded.family, loaded.tokenizer)
    return folder


# Adapters.


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_the_same_in_peft_and_merged(made: Made, tmp_path: Path, command: Command, name: str) -> None:
    folder = made.tuned(name, ADAPTERS[name]).path
    assert read_manifest(folder).kind == "adapter" and not (folder / "model.safetensors").exists()
    beside = open_adapter(folder, dtype=torch.float32).model(IDS)
    assert not torch.allclose(beside, hanlin.load(made.base.path)(IDS), atol=1e-3)
    four_bit = ADAPTERS[name]["tune"] == "qlora"
    base = rounded(made.base.path, tmp_path / "rounded") if four_bit else made.base.path
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    torch.testing.assert_close(theirs(input_ids=IDS).logits, beside, rtol=1e-5, atol=1e-5)
    assert command("merge", f"adapter={folder}", f"out={tmp_path / 'merged'}").code == 0
    for opened in (folder, tmp_path / "merged"):
        torch.testing.assert_close(hanlin.load(opened)(IDS), beside, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_has_few_numbers_and_says_so(made: Made, name: str) -> None:
    folder = made.tuned(name, ADAPTERS[name]).path
    (event,) = made.kinds(name, "model")
    stored = load_file(folder / "adapter_model.safetensors")
    assert event["parameters"] == hanlin.load(made.base.path).model.num_parameters()
    assert event["trained"] == sum(tensor.numel() for tensor in stored.values())
    assert event["trained"] < 0.5 * event["parameters"]
    assert "library_name: peft" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["rslora and lora+", "dora", "qlora"])
@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_killed_run_of_adapters_ends_with_the_same_bits(
    made: Made, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, name: str, checkpoint_seconds: float
) -> None:
    """With a checkpoint after each step, and without any; dropout draws what it drew."""
    whole = made.tuned(name, ADAPTERS[name]).path
    values = {**ADAPTERS[name], "train": {"checkpoint_seconds": checkpoint_seconds}}
    words = made.words(tmp_path / "cut", values)

    class Killed(BaseException):
        """The process ends here: nothing is cleaned up."""

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            raise Killed

    with listening(monkeypatch, kill), pytest.raises(Killed):
        command(*words)
    again = command(*words)
    assert (again.code, again.err) == (0, "")
    (resumed,) = read_events(tmp_path / "cut" / EVENTS_FILE, "resumed")
    assert resumed["step"] == (0 if checkpoint_seconds else 2)
    ours, theirs = steps_of(tmp_path / "cut"), steps_of(whole)
    assert [(e["loss"], e["norm"]) for e in ours.values()] == [(e["loss"], e["norm"]) for e in theirs.values()]
    files, wanted = result_of(tmp_path / "cut")[0], result_of(whole)[0]
    assert files.keys() == wanted.keys()
    assert files["adapter_model.safetensors"] == wanted["adapter_model.safetensors"]


# Parts of the model.


def test_embeddings_alone(made: Made) -> None:
    folder = made.tuned("embeddings", {"tune": "embeddings"}).path
    assert changed_from(made.base.path, folder) == {"model.embed_tokens.weight"}


def test_frozen_blocks_stay_as_they_are(made: Made) -> None:
    folder = made.tuned("frozen", {"frozen_layers": 1}).path
    changed = changed_from(made.base.path, folder)
    assert changed and not [name for name in changed if name.startswith("model.layers.0.")]
    assert any(name.startswith("model.layers.1.") for name in changed)


def test_options_that_mean_nothing_here_are_said(made: Made) -> None:
    made.tuned("unused", {"tune": "embeddings", "frozen_layers": 1, "lora": {"rank": 3}, "distil": {"top_k": 2}})
    notes = [event["text"] for event in made.kinds("unused", "note")]
    assert "Not used with tune=embeddings and these inputs: frozen_layers, lora, distil." in notes
    made.tuned("lora", ADAPTERS["lora"])
    assert not [event for event in made.kinds("lora", "note") if "Not used" in event["text"]]


# Rows.


def test_packed_rows_hold_several_conversations(made: Made) -> None:
    """One epoch of both has the same trained tokens, in fewer rows."""
    options = {"train": {"steps": 4, "batch_rows": 1}, "context": 90}
    packed, plain = (made.tuned(f"rows {pack}", {**options, "pack": pack}).manifest.metrics for pack in (True, False))
    same = ("conversations", "trained_tokens_per_epoch", "cut_rows", "cut_tokens")
    assert {key: packed[key] for key in same} == {key: plain[key] for key in same}
    assert packed["epochs"] > plain["epochs"] and packed["tokens"] > plain["tokens"]
    losses = [event["loss"] for event in made.kinds("rows True", "heldout_replies")]
    assert losses[-1] < losses[0]


# A teacher.


@pytest.mark.parametrize("pack", [False, True])
def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(made: Made, pack: bool) -> None:
    """At first the divergence is what float16 leaves of it; then what a step has done away from the teacher."""
    values = {**ADAPTERS["lora"], "pack": pack, "teacher": str(made.base.path), "distil": {"top_k": 8, "share": 1.0}}
    name = f"own teacher {pack}"
    found = made.tuned(name, values)
    manifest = read_manifest(found.path)
    assert (manifest.method, manifest.kind) == ("distil", "adapter")
    assert {entry["name"] for entry in manifest.inputs} == {"model", "data", "teacher"}
    first, *_ = made.kinds(name, "step")
    assert abs(first["loss"]) < 1e-3
    assert not (found.path / "teacher").exists()
    assert any(event["what"] == "the teacher's answers" for event in made.kinds(name, "progress"))


def test_half_of_the_loss_is_the_texts_own(made: Made) -> None:
    """With share=0.5 the first step's loss is half of what it is without a teacher."""
    taught = {**ADAPTERS["lora"], "teacher": str(made.base.path), "distil": {"share": 0.5, "top_k": 360}}
    made.tuned("half", taught)
    made.tuned("lora", ADAPTERS["lora"])
    half = made.kinds("half", "step")[0]["loss"]
    assert half == pytest.approx(0.5 * steps_of(made.folder / "lora")[1]["loss"], abs=2e-3)


# The certificate.


def test_the_certificate_stands_in_the_model_card(
    made: Made, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made once: Ctrl-C after it, and the same command goes on."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = [*made.words(tmp_path / "chat", ADAPTERS["lora"]), "certify=true"]
    seen: list[dict[str, Any]] = []

    def stop(event: dict[str, Any]) -> None:
        seen.append(event)
        if event["event"] == "step":
            raise KeyboardInterrupt

    with listening(monkeypatch, stop):
        assert command(*words).code == 130
    (certified,) = [event for event in seen if event["event"] == "certified"]
    assert command(*words).code == 0
    assert len(list(read_events(tmp_path / "chat" / EVENTS_FILE, "certified"))) == 1
    card = (tmp_path / "chat" / "README.md").read_text(encoding="utf-8")
    first, second = certified["killed_after_steps"]
    assert (
        f"A run of 12 steps with these options and data was killed (signal 9) after steps {first} and {second}" in card
    )
    assert certified["weights_sha256"] in card and not (tmp_path / "chat" / "certificate").exists()
    plain = made.tuned("lora", ADAPTERS["lora"]).path
    adapter = "adapter_model.safetensors"
    assert result_of(tmp_path / "chat")[0][adapter] == result_of(plain)[0][adapter]


def test_a_copied_folder_still_opens(made: Made, tmp_path: Path) -> None:
    """Base and adapter moved together: the base is found beside it."""
    folder = made.tuned("lora", ADAPTERS["lora"]).path
    wanted = hanlin.load(folder)(IDS)
    for path in (folder, made.base.path):
        shutil.copytree(path, tmp_path / "moved" / path.name)
    there = tmp_path / "moved" / folder.name
    text = (there / "hanlin_base.json").read_text(encoding="utf-8").replace(str(made.base.path), "/gone/base")
    (there / "hanlin_base.json").write_text(text, encoding="utf-8")
    assert torch.equal(hanlin.load(there)(IDS), wanted)
