"""Dynamic NTK-aware scaling: a larger base, growing with the length read. Peng et al. 2023, https://arxiv.org/abs/2309.00071,
section 3.1 and appendix B.1 ("NTK-aware", "dynamic").

High frequencies hardly change, low ones are stretched most, and inside the trained length nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hanlin.core.model.positions.frequencies import Frequencies, plain_frequencies


def frequencies(width: int, theta: float, settings: Mapping[str, Any], max_positions: int, length: int) -> Frequencies:
    """θ' = θ·(s·n/L − (s − 1))^(D/(D−2)) for a length n beyond the trained L.

    Keys cached earlier keep the frequencies of their time, as in other implementations.
    """
    factor = settings["factor"]
    growth = factor * max(length, max_positions) / max_positions - (factor - 1)
    return Frequencies(plain_frequencies(width, theta * growth ** (width / (width - 2))))
