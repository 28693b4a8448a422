"""The choice of products: measured once, kept, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hanlin.core.generate.kernels import choose
from hanlin.core.generate.kernels.int4 import Int4Linear
from hanlin.core.generate.kernels.int8 import Int8Linear
from hanlin.core.run.execute import machine_name


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(choose, "cache_folder", lambda: tmp_path)
    return tmp_path / "kernels" / "choices.json"


def layer(kind: type[Int4Linear] | type[Int8Linear] = Int8Linear) -> Int4Linear | Int8Linear:
    return kind.from_linear(nn.Linear(64, 32, bias=False))


def write(file: Path, name: str, faster: list[bool]) -> None:
    times = {}
    for rows, is_faster in zip(choose.FEW, faster, strict=True):
        times |= {f"codes {rows}": 1.0 if is_faster else 3.0, f"bfloat16 {rows}": 2.0}
    key = f"{machine_name()}, torch {torch.__version__}"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({key: {name: times}}), encoding="utf-8")


@pytest.mark.parametrize(
    ("faster", "rows"),
    [([True] * 6, 32), ([True, True, False, False, True, False], 2), ([False] + [True] * 5, 0)],
)
def test_codes_up_to_the_rows_at_which_bfloat16_is_faster(file: Path, faster: list[bool], rows: int) -> None:
    write(file, "Int8Linear 32 x 64, cpu", faster)
    assert choose.few_rows(layer()) == rows


def test_each_kind_and_shape_is_measured_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = choose.few_rows(layer()), choose.few_rows(layer(Int4Linear))
    (own,) = json.loads(file.read_text(encoding="utf-8")).values()
    assert set(own) == {"Int8Linear 32 x 64, cpu", "1 planes of 4 bits 32 x 64, cpu"}
    monkeypatch.setattr(choose, "timed", None)  # a second measurement would fail
    assert first == (choose.few_rows(layer()), choose.few_rows(layer(Int4Linear)))


def test_a_damaged_file_changes_nothing(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text('{"half', encoding="utf-8")
    chosen = layer()
    assert choose.few_rows(chosen) == chosen.few_rows
    assert not choose.turned_is_faster(torch.device("cpu"))


def test_without_the_matrix_in_bfloat16_there_is_no_choice(file: Path) -> None:
    chosen = Int8Linear.from_linear(nn.Linear(64, 32), few_rows=7, keep_wide=False)
    assert choose.few_rows(chosen) == 7
    assert not file.exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_4_bits_on_a_gpu_stand_for_the_same_numbers() -> None:
    linear = nn.Linear(256, 64, bias=False)
    here, there = Int4Linear.from_linear(linear), Int4Linear.from_linear(linear.cuda())
    assert torch.equal(here.dequantized(torch.float32), there.dequantized(torch.float32).cpu())
    x = torch.randn(3, 256)
    assert torch.allclose(here(x), there(x.cuda()).cpu(), rtol=2e-2, atol=2e-2)
