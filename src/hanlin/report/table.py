"""The before/after table: every stage of one model, the same questions, in one view."""

from __future__ import annotations

from dataclasses import dataclass, field

from hanlin.core.run.numbers import choices, size
from hanlin.report.facts import Run, Step
from hanlin.trust.evaluate.ledger import MEASURES

UNTRAINED = "未訓練"
BPC = "heldout_bpc"
GUESS_TITLE = "　等於從幾個字裡猜一個"
SIZE_TITLE = "檔案大小"


@dataclass(frozen=True)
class Cell:
    text: str = ""
    best: bool = False


@dataclass
class Table:
    """head: column names; rows: (title, cells, which way is better); notes: what the marks mean."""

    head: list[str]
    rows: list[tuple[str, list[Cell], str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def before_after(run: Run) -> Table | None:
    """Columns 未訓練, then each model of the ledger (or the pretrained ones), then Q8_0. None without any figure."""
    figures = _figures(run)
    quantized = _quantized(run)
    if not figures:
        return None
    table = Table([*figures, *quantized])
    for key, (title, direction, form) in MEASURES.items():
        values = [own.get(key) for own in figures.values()]
        if not any(value is not None for value in values):
            continue
        cells = _cells(values, form, direction)
        extra = [Cell(_change(card)) if key == BPC else Cell() for card in quantized.values()]
        table.rows.append((title, cells + extra, direction))
        if key == BPC:
            guesses = [Cell(choices(value) if value is not None else "") for value in values]
            table.rows.append((GUESS_TITLE, guesses + [Cell()] * len(quantized), ""))
    sizes = [Cell(_weights_size(run, name)) for name in figures]
    table.rows.append((SIZE_TITLE, sizes + [Cell(size(card["file_bytes"])) for card in quantized.values()], ""))
    if UNTRAINED in figures:
        table.notes.append("「未訓練」只讀了考題的一小段，其他欄讀得比較多，所以看差距，不必計較小數。")
    if quantized:
        table.notes.append("Q8_0 一欄寫的是和它的原模型相比，讀同一段文字時每個字多（+）或少（−）了幾位元。")
    return table


def _figures(run: Run) -> dict[str, dict[str, float]]:
    """{column: {measure: value}}"""
    columns: dict[str, dict[str, float]] = {}
    pretrained = run.last("pretrain")
    first = pretrained.history.at_first if pretrained else None
    if first is not None and first.bpc is not None:
        columns[UNTRAINED] = {BPC: first.bpc}
    ledger = run.last("evaluate")
    if ledger is not None and ledger.report.get("columns"):
        return columns | {column["name"]: column["figures"] for column in ledger.report["columns"]}
    for step in run.all("pretrain"):
        if BPC in step.metrics:
            columns[step.name] = {BPC: step.metrics[BPC]}
    return columns


def _quantized(run: Run) -> dict[str, dict]:
    """{Q8_0: its card}: of the formats written, those that lose something."""
    step = run.last("quantize")
    formats = step.metrics.get("formats", {}) if step else {}
    return {name.upper(): card for name, card in formats.items() if name not in ("f16", "f32")}


def _cells(values: list[float | None], form: str, direction: str) -> list[Cell]:
    known = [value for value in values if value is not None]
    best = (max if "高" in direction else min)(known)
    differ = len(set(known)) > 1
    return [Cell() if v is None else Cell(form.format(v), differ and v == best) for v in values]


def _change(card: dict) -> str:
    change = card["bits_per_character_after"] - card["bits_per_character_before"]
    return f"{'+' if change >= 0 else '−'}{abs(change):.4f}"


def _weights_size(run: Run, name: str) -> str:
    step: Step | None = next((step for step in run.steps if step.name == name), None)
    weights = step.path / "model.safetensors" if step else None
    return size(weights.stat().st_size) if weights and weights.exists() else ""
