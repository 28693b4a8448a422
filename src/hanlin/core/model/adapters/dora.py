"""Weight-decomposed low-rank adaptation: the direction of each row of W learns by LoRA, its length by itself. Liu et
al. 2024, https://arxiv.org/abs/2402.09353.

    W' = m ⊙ (W + scale·B·A) / ‖W + scale·B·A‖        m (out,), ‖·‖ the length of each row, at first m = ‖W‖

As in section 4.3 the length in the denominator gets no gradient. It is computed anew in each pass, from all of W.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.adapters.lora import Adapted, Adapter, add_low_rank_, changed, low_rank_rows, matrix_of


class DoraLinear(Adapted):
    """Beside a linear layer. While training with dropout only the change reads the thinned x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x_NI, factor_O = x.flatten(0, -2), self.factor(x.dtype)
        if self.dropout and self.training:
            thinned_NI = F.dropout(x_NI, self.dropout)
            plain_NO = self.base(thinned_NI)
            change_NO = self._rescaled(plain_NO.clone(), thinned_NI, factor_O) - plain_NO
            y_NO = self.base(x_NI) + change_NO
        else:
            y_NO = self._rescaled(self.base(x_NI), x_NI, factor_O)
        return y_NO.unflatten(0, x.shape[:-1])

    def _rescaled(self, y_NO: torch.Tensor, x_NI: torch.Tensor, factor_O: torch.Tensor) -> torch.Tensor:
        """factor ⊙ (W·x + scale·B·A·x) + b, for y = W·x + b."""
        z_NO = add_low_rank_(y_NO, x_NI, self) * factor_O
        return z_NO if self.bias is None else z_NO + (1 - factor_O) * self.bias

    def factor(self, dtype: torch.dtype) -> torch.Tensor:
        return (self.magnitude / row_lengths(self)).to(dtype)


class DoraEmbedding(Adapted):
    """Beside an embedding: the rows are those of Eᵀ, so each of the C columns of E has a length."""

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        x_BTC = self.base(ids_BT)
        factor_C = (self.magnitude / row_lengths(self)).to(x_BTC.dtype)
        return (x_BTC + low_rank_rows(ids_BT, self)) * factor_C


@torch.no_grad()
def row_lengths(adapted: Adapted) -> torch.Tensor:
    """‖W + scale·B·A‖ of each row, float32, (out,)."""
    return torch.linalg.vector_norm(changed(matrix_of(adapted.base), adapted.adapter()), dim=1)


def first_magnitude(base: nn.Module) -> torch.Tensor:
    """‖W‖ of each row, float32, (out,): with it, an adapter that changes nothing leaves the matrix as it is."""
    return torch.linalg.vector_norm(matrix_of(base), dim=1)


def merged(weight: torch.Tensor, adapter: Adapter) -> torch.Tensor:
    """The matrix that does the same alone, (out, in), in float32; with LoRA W + scale·B·A."""
    whole = changed(weight, adapter)
    if adapter.magnitude is None:
        return whole
    return whole * (adapter.magnitude.float() / torch.linalg.vector_norm(whole, dim=1))[:, None]
