"""The room: files, card, budget, and a run that continues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from samples import CONVERSATIONS, SENTENCES

from hanlin.core.probe.samples import PROMPTS
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.execute import execute
from hanlin.core.text.documents import Row, write_rows
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.rooms import ROOMS
from hanlin.shape.quantize.config import Quantize
from hanlin.shape.quantize.run import run

QUICK: dict[str, Any] = {"num_tokens": 200, "num_prompts": 2, "reply_tokens": 4}


@pytest.fixture
def model(tiny_model_folder: Path) -> Artifact:
    return Artifact(tiny_model_folder, "model", "id-of-the-model")


def corpus_of(folder: Path, rows: list[Row]) -> Artifact:
    folder.mkdir()
    for split in ("train", "heldout"):
        write_rows(folder / f"{split}.parquet", rows)
    return Artifact(folder, "corpus", "id-of-the-corpus")


def test_sealed_with_card_and_tokenizer(tmp_path: Path, model: Artifact) -> None:
    made = execute(ROOMS["quantize"], Quantize(**QUICK), {"model": model}, tmp_path / "out")
    names = {path.name for path in made.path.iterdir()}
    assert {"model.gguf", "model-q8_0.gguf", "card.json", "card.md", "tokenizer.json", "manifest.json"} <= names
    assert "model.safetensors" not in names
    card = json.loads(made.file("card.json").read_text(encoding="utf-8"))
    assert card == made.manifest.metrics
    assert (
        card["formats"]["q8_0"]["file_bytes"]
        == made.file("model-q8_0.gguf").stat().st_size
        < card["formats"]["f16"]["file_bytes"]
    )
    assert 0 <= card["formats"]["f16"]["kl_nats_mean"] < card["formats"]["q8_0"]["kl_nats_mean"] < 0.02
    assert load_tokenizer(made.path).chat_template == load_tokenizer(model.path).chat_template
    assert "q8_0" in made.file("card.md").read_text(encoding="utf-8")


def test_outside_the_budget_nothing_is_sealed(tmp_path: Path, model: Artifact) -> None:
    config = build(Quantize, {**QUICK, "budgets": {"q8_0": {"max_kl_nats": 1e-9, "min_top1_agreement": 0}}}, "quantize")
    with pytest.raises(HanlinError, match=r"model-q8_0\.gguf is not the model it was made from: its mean divergence"):
        execute(ROOMS["quantize"], config, {"model": model}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_keeps_its_whole_files(tmp_path: Path, model: Artifact) -> None:
    def stop_at_the_second_file(kind: str, **fields: Any) -> None:
        if fields.get("what") == "model-q8_0.gguf":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Quantize(**QUICK), {"model": model}, tmp_path, stop_at_the_second_file)
    first = (tmp_path / "model.gguf").stat().st_mtime_ns
    assert not (tmp_path / "model-q8_0.gguf").exists()
    result = run(Quantize(**QUICK), {"model": model}, tmp_path, silent)
    assert (tmp_path / "model.gguf").stat().st_mtime_ns == first
    assert set(result.metrics["formats"]) == {"f16", "q8_0"}


@pytest.mark.parametrize("rows", ["text", "chat"])
def test_held_out_text_of_a_corpus(tmp_path: Path, model: Artifact, rows: str) -> None:
    if rows == "text":
        made = [Row(id=str(place), text=text) for place, text in enumerate(SENTENCES)]
    else:
        made = [Row(id=str(place), messages=tuple(messages)) for place, messages in enumerate(CONVERSATIONS)]
    inputs = {"model": model, "corpus": corpus_of(tmp_path / "corpus", made)}
    result = run(Quantize(**QUICK, formats=["q8_0"]), inputs, tmp_path, silent)
    assert result.metrics["text"] == "id-of-the-corpus"
    assert result.metrics["formats"]["q8_0"]["num_tokens"] == 200
    assert (tmp_path / "model.gguf").exists(), "the first format has the plain name"


def test_progress_counts_to_its_total(tmp_path: Path, model: Artifact) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def emit(kind: str, **fields: Any) -> None:
        assert kind == "progress"
        seen.setdefault(fields["what"], []).append((fields["done"], fields["total"]))

    run(Quantize(**QUICK), {"model": model}, tmp_path, emit)
    assert list(seen) == ["model.gguf", "card f16", "model-q8_0.gguf", "card q8_0"]
    assert all(steps[-1][0] == steps[-1][1] for steps in seen.values())


def test_an_empty_corpus_is_refused(tmp_path: Path, model: Artifact) -> None:
    with pytest.raises(HanlinError, match="no held-out text"):
        run(Quantize(**QUICK), {"model": model, "corpus": corpus_of(tmp_path / "corpus", [])}, tmp_path, silent)


@pytest.mark.parametrize(
    "values", [{"formats": []}, {"formats": ["f16", "f16"]}, {"formats": ["q4_k_m"]}, {"format": ["f16"]}]
)
def test_impossible_options_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HanlinError):
        build(Quantize, values, "quantize")


def test_all_prompts_can_be_asked_for() -> None:
    assert build(Quantize, {"num_prompts": len(PROMPTS)}, "quantize").num_prompts == 12
