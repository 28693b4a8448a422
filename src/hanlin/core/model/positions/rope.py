"""Rotary position embedding. Su et al. 2021, https://arxiv.org/abs/2104.09864, in the half-split layout of Llama and
Qwen.

The pair (x_i, x_{i + D/2}) of the token at position t is turned by the angle t·f_i with f_i = θ^(−2i/D). The files
beside this one change the frequencies f_i so that a model reads beyond the length it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hanlin.core.model.positions import linear, llama3, longrope, ntk, yarn
from hanlin.core.model.positions.frequencies import Frequencies, plain_frequencies
from hanlin.core.model.reading import Reading

SCALINGS: dict[str, Callable[..., Frequencies]] = {
    "linear": linear.frequencies,
    "dynamic": ntk.frequencies,
    "yarn": yarn.frequencies,
    "llama3": llama3.frequencies,
    "longrope": longrope.frequencies,
}
"""By the names configs give them (`rope_type`)."""

FOLLOWS_LENGTH = ("dynamic", "longrope")
"""Whose frequencies depend on how many tokens are read."""


class Rope:
    """Turns the first `width` numbers of each head; the rest pass unchanged (partial rotary)."""

    def __init__(self, width: int, theta: float, settings: Mapping[str, Any] | None = None, max_positions: int = 0):
        """settings: the config's `rope_parameters`. Raises ValueError for a `rope_type` that is not known here,
        KeyError for a number it lacks."""
        self.width, self.theta, self.max_positions = width, theta, max_positions
        self.settings = dict(settings or {})
        self.kind = self.settings.get("rope_type") or self.settings.get("type") or "default"
        if self.kind != "default" and self.kind not in SCALINGS:
            raise ValueError(f"rope_type {self.kind} (known: default, {', '.join(SCALINGS)})")
        self.known = self._frequencies(max_positions)

    def _frequencies(self, length: int) -> Frequencies:
        """(width/2,) float32 on the CPU, even inside `torch.device("meta")`: a model without weights has its angles.
        Plain tensors, not buffers: `model.to(bfloat16)` must not round them."""
        with torch.device("cpu"):
            if self.kind == "default":
                return Frequencies(plain_frequencies(self.width, self.theta))
            return SCALINGS[self.kind](self.width, self.theta, self.settings, self.max_positions, length)

    def tables(self, reading: Reading, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin of position · frequency, (T, 1, width/2), or (B, T, 1, width/2) with padding or documents."""
        angles = reading.positions[..., None, None].float() * self._values(reading).to(reading.device)
        factor = self.known.attention_factor  # whatever the length
        return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)

    def _values(self, reading: Reading) -> torch.Tensor:
        """The frequencies, (width/2,); where they follow the length, of packed rows (B, T, 1, width/2), of a batch's
        rows (B, 1, 1, width/2)."""
        if self.kind not in FOLLOWS_LENGTH:
            return self.known.values
        if reading.rows is not None:
            return torch.stack([self._frequencies(row.total).values for row in reading.rows])[:, None, None]
        if reading.documents_BT is None:
            return self._frequencies(reading.total).values
        lengths = torch.tensor([piece.length for piece in reading.pieces])
        each = torch.stack([self._frequencies(length).values for length in lengths.tolist()])
        return each.repeat_interleave(lengths, dim=0).view(*reading.documents_BT.shape, 1, -1)

    def turn(self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
        tables = reading.once(("rope", id(self)), lambda: self.tables(reading, q_BTHD.dtype))
        return self._turn(q_BTHD, *tables), self._turn(k_BTKD, *tables)

    def _turn(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        if self.width == x.shape[-1]:
            return rotate(x, cos, sin)
        return torch.cat((rotate(x[..., : self.width], cos, sin), x[..., self.width :]), dim=-1)

    def mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        return reading.mask(window)


def rotate(x_BTHD: torch.Tensor, cos_T1D: torch.Tensor, sin_T1D: torch.Tensor) -> torch.Tensor:
    """Turn each pair (x_i, x_{i + D/2}) by its position's angle. Tables are (T, 1, D/2) in x's dtype."""
    first, second = x_BTHD.chunk(2, dim=-1)
    return torch.cat((first * cos_T1D - second * sin_T1D, second * cos_T1D + first * sin_T1D), dim=-1)


def rope_from(config: Mapping[str, Any], head_width: int, kind: str | None = None, theta: float = 10_000.0) -> Rope:
    """The rope a transformers config describes. kind: the layer type where layers differ ("sliding_attention").

    New configs hold everything in `rope_parameters`, older ones `rope_theta` beside `rope_scaling`.
    """
    settings = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    if kind is not None and kind in settings:
        settings = dict(settings[kind])
    share = settings.get("partial_rotary_factor", config.get("partial_rotary_factor")) or 1.0
    longest = config["max_position_embeddings"]
    settings["original_max_position_embeddings"] = (
        config.get("original_max_position_embeddings") or settings.get("original_max_position_embeddings") or longest
    )
    base = settings.get("rope_theta") or config.get("rope_theta") or theta
    return Rope(int(head_width * share), float(base), settings, longest)
