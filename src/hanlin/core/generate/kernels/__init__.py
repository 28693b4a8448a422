"""Matrices in fewer bits, multiplied by kernels that read them as they lie. `with_weights` puts them into a model."""

from hanlin.core.generate.kernels.apply import WEIGHTS, with_weights

__all__ = ["WEIGHTS", "with_weights"]
