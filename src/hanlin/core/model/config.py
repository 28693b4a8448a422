"""Reading a model's config.json: what is not known here is refused, never passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ModelConfig = Mapping[str, Any]
"""config.json as transformers writes it."""


def only(config: ModelConfig, **known: Any) -> None:
    """Raises ValueError when a switch the family's code does not know is set otherwise. None counts as not set."""
    for name, value in known.items():
        found = config.get(name)
        if found is not None and found != value:
            raise ValueError(f"{name} {found!r} (only {value!r} is known)")


def head_width(config: ModelConfig) -> int:
    """`head_dim`, or the width shared out among the heads."""
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def layer_windows(config: ModelConfig, default: list[str] | None = None) -> list[int | None]:
    """The sliding window of each layer in tokens, None for full attention, by `layer_types` or `default`.

    Raises ValueError for a layer type that is neither.
    """
    count = config["num_hidden_layers"]
    kinds = config.get("layer_types") or default or ["full_attention"] * count
    if len(kinds) != count or set(kinds) - {"full_attention", "sliding_attention"}:
        raise ValueError(f"layer_types {kinds} (known: full_attention, sliding_attention, {count} of them)")
    return [config["sliding_window"] if kind == "sliding_attention" else None for kind in kinds]
