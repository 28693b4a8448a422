"""The model card: front matter that hubs read, what the model was made from, its figures, its certificate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from hanlin.core.model.card import CARD_FILE, write_card
from hanlin.core.run.artifact import Artifact, Manifest, hash_files, open_artifact, write_manifest

METRICS = {"parameters": 1_234_567, "heldout_bpc": 3.14159, "seconds": 12.3, "loss": 123456.7, "is_new": True, "x": "y"}
CERTIFICATE = {"steps": 12, "killed_after_steps": [3, 8], "weights_sha256": "ab" * 32}


def source(path: str, licence: str = "") -> dict[str, str]:
    entry = {"name": "sources.0", "kind": "source", "id": path[:8], "path": path}
    return {**entry, "licence": licence} if licence else entry


def sealed(folder: Path, kind: str, room: str, inputs: list[dict[str, str]]) -> Artifact:
    folder.mkdir()
    (folder / "content.txt").write_text(folder.name)
    write_manifest(folder, Manifest(kind, room, "", {}, inputs, hash_files(folder), {}, 1, f"{folder.name}-id"))
    return open_artifact(folder)


def entry(name: str, artifact: Artifact) -> dict[str, str]:
    return {"name": name, "kind": artifact.kind, "id": artifact.id, "path": str(artifact.path)}


def card(folder: Path, inputs: dict[str, Artifact], **options: Any) -> tuple[dict[str, Any], str]:
    """(front matter, text) of a card."""
    write_card(folder, "A base model (Qwen3ForCausalLM)", METRICS, inputs, **options)
    text = (folder / CARD_FILE).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert ModelCard.load(folder / CARD_FILE).data.to_dict().items() >= yaml.safe_load(front).items()
    return yaml.safe_load(front), body


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact:
    sources = [source("pip:laws==1.0!data.zip#sha256=12", "MIT"), source("pip:poems==2.0#sha256=34", "CC BY-SA: 4.0")]
    return sealed(
        tmp_path / "corpus", "corpus", "collect", [*sources, source("pip:laws==1.0!data.zip#sha256=12", "MIT")]
    )


def test_a_base_model(tmp_path: Path, corpus: Artifact) -> None:
    front, body = card(tmp_path, {"corpus": corpus})
    assert front == {
        "library_name": "transformers",
        "tags": ["hanlin"],
        "license": "other",
        "license_name": "CC BY-SA: 4.0; MIT",
    }
    assert body.startswith("\n# A base model (Qwen3ForCausalLM)\n")
    assert "- corpus: corpus, id `corpus-id`\n" in body
    assert body.count("- source: pip:laws==1.0!data.zip (MIT)\n") == 1 and "sha256=" not in body
    assert "Certificate" not in body


def test_figures_without_time(tmp_path: Path, corpus: Artifact) -> None:
    """Equal work has an equal card."""
    _, body = card(tmp_path, {"corpus": corpus})
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert rows == [
        "| | |",
        "|---|---:|",
        "| parameters | 1,234,567 |",
        "| heldout bpc | 3.142 |",
        "| loss | 1.235e+05 |",
    ]


def test_what_a_fine_tuned_model_comes_from_in_the_end(tmp_path: Path, corpus: Artifact) -> None:
    """Licences bind through every step: those of the base's text count as much as those of the conversations."""
    talk = sealed(tmp_path / "talk", "corpus", "collect", [source("file:talk.jsonl")])
    base = sealed(tmp_path / "base", "model", "pretrain", [entry("corpus", corpus)])
    front, body = card(tmp_path, {"model": base, "data": talk})
    assert front["license_name"] == "CC BY-SA: 4.0; MIT"
    sources = [line for line in body.splitlines() if line.startswith("- source")]
    assert sources == [
        "- source: pip:laws==1.0!data.zip (MIT)",
        "- source: pip:poems==2.0 (CC BY-SA: 4.0)",
        "- source: file:talk.jsonl",
    ]
    shutil.rmtree(corpus.path)
    front, body = card(tmp_path, {"model": base})
    assert "license" not in front and "- source" not in body  # what is gone can't be asked


def test_a_model_from_elsewhere_brings_its_licence(tmp_path: Path) -> None:
    """Named directly, and by an artifact that was made from it."""
    gemma = Artifact(
        tmp_path / "gemma.gguf", "model", "g" * 24, address="pip:gemma==1.0#sha256=9", licence="Gemma Terms"
    )
    there = {**entry("model", gemma), "path": gemma.address, "licence": gemma.licence}
    chat = sealed(tmp_path / "chat", "model", "finetune", [there])
    for inputs in ({"model": gemma}, {"model": chat}):
        front, body = card(tmp_path, inputs)
        assert front["license_name"] == "Gemma Terms"
        assert "- source: pip:gemma==1.0 (Gemma Terms)\n" in body


def test_an_adapter_is_of_another_library(tmp_path: Path, corpus: Artifact) -> None:
    assert card(tmp_path, {"corpus": corpus}, library="peft")[0]["library_name"] == "peft"


def test_the_certificate(tmp_path: Path, corpus: Artifact) -> None:
    _, body = card(tmp_path, {"corpus": corpus}, certificate=CERTIFICATE)
    assert "## Certificate of exact resume" in body
    assert "A run of 12 steps" in body and "(signal 9) after steps 3 and 8 and taken up again" in body
    assert f"`{'ab' * 32}`" in body


def test_a_card_is_written_whole_over_an_older_one(tmp_path: Path, corpus: Artifact) -> None:
    (tmp_path / CARD_FILE).write_text("old\n" * 500)
    _, body = card(tmp_path, {"corpus": corpus})
    assert "old\n" not in body
    assert not list(tmp_path.glob("*.tmp"))
