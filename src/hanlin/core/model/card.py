"""The model card: README.md of a model folder, with the front matter that hubs read. Mitchell et al. 2019,
https://arxiv.org/abs/1810.03993."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.run.artifact import Artifact, lineage, write_atomic

CARD_FILE = "README.md"


def write_card(
    folder: Path,
    made: str,
    metrics: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    certificate: Mapping[str, Any] | None = None,
    library: str = "transformers",
) -> None:
    """made: one sentence on what this is. certificate: of exact resume, where one was asked for."""
    sources = _sources(inputs)
    licences = sorted({licence for licence in sources.values() if licence})
    front: dict[str, Any] = {"library_name": library, "tags": ["hanlin"]}
    if licences:
        front |= {"license": "other", "license_name": "; ".join(licences)}
    lines = ["---", yaml.safe_dump(front, allow_unicode=True, sort_keys=False).strip(), "---", ""]
    lines += [f"# {made}", "", "## Made from", ""]
    lines += [f"- {name}: {a.kind}, id `{a.id}`" for name, a in inputs.items()]
    lines += [f"- source: {path}{f' ({licence})' if licence else ''}" for path, licence in sources.items()]
    lines += ["", "## Figures", "", "| | |", "|---|---:|"]
    figures = {name: value for name, value in metrics.items() if _is_figure(name, value)}
    lines += [f"| {name.replace('_', ' ')} | {_figure(value)} |" for name, value in figures.items()]
    if certificate:
        lines += ["", "## Certificate of exact resume", "", _certified(certificate)]
    write_atomic(folder / CARD_FILE, "\n".join(lines) + "\n")


def _certified(certificate: Mapping[str, Any]) -> str:
    moments = " and ".join(str(step) for step in certificate["killed_after_steps"])
    return (
        f"A run of {certificate['steps']} steps with these options and data was killed (signal 9) after steps "
        f"{moments} and taken up again. Every loss and every weight is the same, to the bit, as in a run nobody "
        f"disturbed. SHA-256 of both runs' weights: `{certificate['weights_sha256']}`."
    )


def _sources(inputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Address → licence of what all this was made from in the end: raw data, and models from elsewhere."""
    found: dict[str, str] = {}
    for artifact in inputs.values():
        if artifact.manifest is None:
            entries = [{"path": artifact.address or str(artifact.path), "licence": artifact.licence}]
        else:
            facts = (facts for _, _, facts in lineage(artifact.path))
            entries = [f for f in facts if f["kind"] == "source" or (f.get("missing") and ":" in f["path"])]
        found |= {entry["path"].partition("#")[0]: entry.get("licence", "") for entry in entries}
    return found


def _is_figure(name: str, value: Any) -> bool:
    """Time stands in the manifest: a card is the same whenever the same work is done."""
    return isinstance(value, int | float) and not isinstance(value, bool) and name != "seconds"


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
