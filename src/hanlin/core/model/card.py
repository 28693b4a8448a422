"""The model card: README.md of a model folder, with the front matter that hubs read. Mitchell et al. 2019,
https://arxiv.org/abs/1810.03993."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.run.artifact import Artifact, write_atomic

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
    licences = sorted({entry["licence"] for entry in _sources(inputs) if entry.get("licence")})
    front = {"library_name": library, "tags": ["hanlin"], **({"license_name": "; ".join(licences)} if licences else {})}
    lines = ["---", yaml.safe_dump(front, allow_unicode=True, sort_keys=False).strip(), "---", ""]
    lines += [f"# {made}", "", "## Made from", ""]
    lines += [f"- {name}: {a.kind}, id `{a.id}`" for name, a in inputs.items()]
    lines += [f"- source: {e['path'].partition('#')[0]}{_licence(e)}" for e in _sources(inputs)]
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


def _sources(inputs: Mapping[str, Artifact]) -> list[dict[str, str]]:
    """Raw data named in the inputs' own manifests."""
    manifests = (artifact.manifest for artifact in inputs.values() if artifact.manifest is not None)
    return [entry for manifest in manifests for entry in manifest.inputs if entry["kind"] == "source"]


def _licence(entry: Mapping[str, str]) -> str:
    return f" ({entry['licence']})" if entry.get("licence") else ""


def _is_figure(name: str, value: Any) -> bool:
    """Time stands in the manifest: a card is the same whenever the same work is done."""
    return isinstance(value, int | float) and not isinstance(value, bool) and name != "seconds"


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
