"""Writes the table of docs/families.md: every family of the registry, what differs, how far it is from transformers.

    python scripts/families.py

The configs are those the parity tests draw, the same ones every time; about two minutes. Needs `make install-test`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "parity")]

from reference import DECODERS, gradients_of, ours_of, random_ids, random_reference  # noqa: E402
from test_encoders import configs as encoder_configs  # noqa: E402
from test_encoders import reference as encoder_reference  # noqa: E402
from test_t5 import configs as t5_configs  # noqa: E402
from test_t5 import reference as t5_reference  # noqa: E402

from hanlin.core.model.equality import Row, compare_models  # noqa: E402
from hanlin.core.model.pretrained import known_families  # noqa: E402

PAGE = ROOT / "docs" / "families.md"
BEGIN, END = "<!-- table: python scripts/families.py -->\n", "<!-- end of table -->"
NUM_CONFIGS = 20
BATCH, LENGTH = 2, 24
HEAD = """\
Largest differences over {count} drawn configs each ({batch} × {length} random ids, float32): |a − b| / (1 + |b|) of
logits, hidden states and loss; gradients as a share of each tensor's largest.

| file | architectures | what differs | logits | hidden states | loss | gradients |
|---|---|---|---:|---:|---:|---:|
"""

Reference = Callable[[dict[str, Any], int], Any]


def main() -> None:
    rows = [row(family) for family in known_families()]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = HEAD.format(count=NUM_CONFIGS, batch=BATCH, length=LENGTH) + "".join(rows)
    PAGE.write_text(before + BEGIN + "\n" + table + "\n" + END + after, encoding="utf-8")


def row(family: ModuleType) -> str:
    name = family.__name__.rpartition(".")[2]
    drawn = source_of(name)
    measured = ["by its formula", "", "", ""] if drawn is None else [f"{x:.0e}" for x in measure(family, *drawn)]
    print(f"{name:14} {'  '.join(measured)}", flush=True)
    link = f"[{name}](../src/hanlin/core/model/families/{name}.py)"
    return f"| {link} | {', '.join(family.ARCHITECTURES)} | {family.SUMMARY} | {' | '.join(measured)} |\n"


def source_of(name: str) -> tuple[st.SearchStrategy[dict[str, Any]], Reference] | None:
    """(configs to draw, transformers' model of one); None for a family transformers has not."""
    if name in DECODERS:
        case = DECODERS[name]
        return case.configs(), lambda values, seed: random_reference(case, values, seed)
    if name == "t5":
        return t5_configs(), lambda values, seed: t5_reference(values, False, seed)
    if name in ("bert", "xlm_roberta"):
        model_type = name.replace("_", "-")
        return encoder_configs(model_type), lambda values, seed: encoder_reference(model_type, values, seed)
    return None


def measure(family: ModuleType, configs: st.SearchStrategy[dict[str, Any]], reference: Reference) -> list[float]:
    """Largest difference of logits, hidden states, loss and gradients."""
    found: list[Row] = []

    @settings(max_examples=NUM_CONFIGS, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(configs, st.integers(0, 10_000))
    def compare(values: dict[str, Any], seed: int) -> None:
        theirs = reference(values, seed)
        ours, _ = ours_of(theirs)
        padding = ours.config.get("pad_token_id")
        ids = random_ids(ours.vocab_size, BATCH, LENGTH, seed)
        ids = ids.masked_fill(ids == padding, (padding + 1) % ours.vocab_size) if padding is not None else ids
        kind = getattr(family, "KIND", "decoder")
        found.extend(compare_models(kind, ours, theirs, ids, lambda model: gradients_of(model, ours, family)))

    compare()
    kinds = ("logits", "hidden state", "loss", "gradient")
    return [max(row.difference for row in found if row.what.startswith(kind)) for kind in kinds]


if __name__ == "__main__":
    main()
