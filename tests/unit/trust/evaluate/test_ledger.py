"""The quality ledger as a table: one row a measure, one column a model."""

from __future__ import annotations

from hanlin.trust.evaluate.ledger import MEASURES, Column, ledger_table

BEFORE = Column("base", "a" * 24, {"heldout_bpc": 4.5678, "stop_rate": 0.0})
AFTER = Column("chat", "b" * 24, {"heldout_bpc": 4.6, "stop_rate": 0.5, "reply_loss": 3.21, "repetition_rate": 0.125})


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_figures_stand_side_by_side() -> None:
    head, line, *rows = rows_of(ledger_table([BEFORE, AFTER]))
    assert head == ["量測", "base", "chat", ""] and len(line) == 4
    by_title = {row[0]: row[1:] for row in rows}
    assert by_title[MEASURES["heldout_bpc"][0]] == ["4.568", "4.600", "越低越好"]
    assert by_title[MEASURES["stop_rate"][0]] == ["0%", "50%", "越高越好"]
    assert by_title[MEASURES["reply_loss"][0]] == ["", "3.210", "越低越好"]
    assert by_title[MEASURES["repetition_rate"][0]] == ["", "12.5%", "越低越好"]


def test_a_measure_nobody_took_is_left_out() -> None:
    table = ledger_table([BEFORE, AFTER])
    assert MEASURES["simplified_per_1000"][0] not in table
    assert len(rows_of(table)) == 2 + 4


def test_one_column() -> None:
    assert rows_of(ledger_table([AFTER]))[0] == ["量測", "chat", ""]


def test_every_row_has_as_many_cells() -> None:
    assert len({len(row) for row in rows_of(ledger_table([BEFORE, AFTER]))}) == 1
