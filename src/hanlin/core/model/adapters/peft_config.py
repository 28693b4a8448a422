"""adapter_config.json as PEFT 0.21 reads and writes it: which matrices have an adapter, and how much each counts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.model.adapters.attach import MORE, Lora
from hanlin.core.model.adapters.lora import Adapter
from hanlin.core.model.checkpoint_files import AGAIN
from hanlin.core.run.errors import HanlinError

CONFIG_FILE = "adapter_config.json"
TASKS = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}

HARMLESS = frozenset(
    {
        "alpha_pattern",
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_alpha",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
        "use_dora",
        "use_rslora",
    }
)
"""What is read here, what the tensors' own names say again, and what was only needed to begin the training."""
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""First values for which PEFT takes something off the base: the adapter fits that other base only."""


@dataclass(frozen=True)
class PeftConfig:
    """options: their targets are the family's names, as the file has them. base: a path or a name on the hub."""

    options: Lora
    base: str = ""
    alphas: Mapping[str, float] = field(default_factory=dict)

    def scale(self, module: str, rank: int) -> float:
        """Of a module of the checkpoint. The first pattern that its name ends in decides."""
        alpha = next(
            (value for key, value in self.alphas.items() if re.match(rf"(.*\.)?({key})$", module)), self.options.alpha
        )
        return alpha / (math.sqrt(rank) if self.options.rslora else rank)


def read_config(folder: Path) -> PeftConfig:
    """Raises HanlinError for a file that is damaged, or asks for what is not known here."""
    path = folder / CONFIG_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        _refuse_unknown(path, facts)
        targets = facts.get("target_modules") or ()
        options = Lora(
            rank=int(facts["r"]),
            alpha=float(facts["lora_alpha"]),
            dropout=float(facts.get("lora_dropout") or 0),
            targets=(targets,) if isinstance(targets, str) else tuple(targets),
            rslora=bool(facts.get("use_rslora")),
            dora=bool(facts.get("use_dora")),
        )
        alphas = {re.compile(key).pattern: float(value) for key, value in (facts.get("alpha_pattern") or {}).items()}
    except HanlinError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        raise HanlinError(f"{path} is not a readable adapter ({error}).", "PEFT's own config", AGAIN, MORE) from None
    return PeftConfig(options, facts.get("base_model_name_or_path") or "", alphas)


def _refuse_unknown(path: Path, facts: Mapping[str, Any]) -> None:
    """An adapter that is read in part answers otherwise than it was trained to."""
    first_values = str(facts.get("init_lora_weights", True))
    asked = [f"{name}={value!r}" for name, value in facts.items() if value and name not in HARMLESS]
    asked = [text for text in asked if text != "bias='none'"]
    if facts.get("peft_type") != "LORA":
        asked.insert(0, f"peft_type={facts.get('peft_type')!r}")
    if first_values.startswith(CHANGES_THE_BASE):
        asked.append(f"init_lora_weights={first_values!r}")
    if asked:
        raise HanlinError(
            f"{path} asks for {asked[0][:100]}, which is not known here.",
            "LoRA, rsLoRA or DoRA of linear layers and the embedding",
            "merge it where it was made (merge_and_unload of PEFT), and open the merged model",
            MORE,
        )


def config_facts(
    adapters: Mapping[str, Adapter],
    known: Iterable[str],
    ignored: Sequence[str],
    options: Lora,
    base: str,
    task: str | None,
    transposed: bool,
) -> dict[str, Any]:
    """The file's content. adapters: by the checkpoint's names for their modules. known: the names of all modules.
    ignored: patterns of tensors that the family's checkpoints hold besides."""
    alphas = {name: _alpha(adapter, options.rslora) for name, adapter in adapters.items()}
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "r": options.rank,
        "lora_alpha": _number(options.alpha),
        "lora_dropout": options.dropout,
        "target_modules": short_names(adapters, known, ignored),
        "rank_pattern": patterns({name: adapter.rank for name, adapter in adapters.items()}, options.rank),
        "alpha_pattern": patterns(alphas, _number(options.alpha)),
        "use_rslora": options.rslora,
        "use_dora": options.dora,
        "fan_in_fan_out": transposed,
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
    }


def short_names(chosen: Iterable[str], known: Iterable[str], ignored: Sequence[str] = ()) -> list[str]:
    """Endings that PEFT finds exactly the chosen modules by: the last part of a name where that is enough, else the
    part behind the layer's number, else the name."""
    chosen, all_names = set(chosen), [*known]
    found: dict[str, None] = {}
    for name in sorted(chosen):
        behind_number = re.split(r"(?:^|\.)\d+\.", name)[-1]
        for ending in (name.rpartition(".")[2], behind_number, name):
            meant = {other for other in all_names if f".{other}".endswith(f".{ending}")}
            if meant <= chosen and not any(re.escape(ending) in pattern for pattern in ignored):
                found[ending] = None
                break
        else:
            found[name] = None
    return [*found]


def patterns(values: Mapping[str, float], default: float) -> dict[str, float]:
    """What differs from the default, by the last part of a name where all modules that end in it have the same."""
    found: dict[str, float] = {}
    for name, value in values.items():
        leaf = name.rpartition(".")[2]
        alike = {other for key, other in values.items() if key.rpartition(".")[2] == leaf}
        if value != default or len(alike) > 1:
            found[leaf if len(alike) == 1 else name] = value
    return {key: value for key, value in found.items() if value != default}


def _alpha(adapter: Adapter, rslora: bool) -> float:
    return _number(adapter.scale * (math.sqrt(adapter.rank) if rslora else adapter.rank))


def _number(value: float) -> float:
    """A whole number as one, as PEFT writes it; free of what rounding added."""
    nearest = round(value)
    return nearest if math.isclose(value, nearest, rel_tol=1e-12) else value
