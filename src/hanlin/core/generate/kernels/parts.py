"""A block taken apart into pieces of arithmetic: before its attention looks, behind it, and, for one new token a text,
all of it. Each can be compiled as it stands (compiled.py).

What reads the same input is one product: q, k and v; gate and up.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from hanlin.core.generate.kernels.turned import TurnedLinear
from hanlin.core.model.activations import Activation, tanh_gelu
from hanlin.core.model.attention import Attention, attend
from hanlin.core.model.block import Block, ParallelBlock
from hanlin.core.model.feed_forward import FeedForward, GatedFeedForward
from hanlin.core.model.positions.none import NoPosition
from hanlin.core.model.positions.rope import Rope, rotate

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def can_be_taken_apart(block: nn.Module) -> bool:
    """Attention without scores of its own kind, positions that turn, a feed-forward layer, and norms around them."""
    if type(block) not in (Block, ParallelBlock):
        return False
    attention: Any = block.attention
    return (
        type(attention) is Attention
        and attention.attend is attend
        and type(attention.position) in (Rope, NoPosition)
        and type(block.mlp) in (FeedForward, GatedFeedForward)
    )


def quick(activation: Activation) -> Activation:
    """(1 + tanh z)/2 is σ(2z), and compiled σ takes a third of the time."""
    return sigmoid_gelu if activation is tanh_gelu else activation


def sigmoid_gelu(x: torch.Tensor) -> torch.Tensor:
    """gelu with tanh: x · σ(2·√(2/π)·(x + 0.044715·x³))."""
    return x * torch.sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))


def exact(norm: nn.Module) -> nn.Module:
    """A copy in float32."""
    return copy.deepcopy(norm).float().requires_grad_(False)


class Parts(nn.Module):
    """Rows are tokens, N of them, float32. Tables are cos and sin of the rows' positions, (N, 1, turned width / 2).

    dtype: of what attention looks at, queries, keys and values.
    """

    def __init__(self, block: Any, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.dtype = dtype
        attention, mlp = block.attention, block.mlp
        self.num_heads, self.num_kv_heads = attention.num_heads, attention.num_kv_heads
        self.head_width, self.scale = attention.head_width, attention.scale
        self.turned_width = attention.position.width if isinstance(attention.position, Rope) else 0
        self.parallel = isinstance(block, ParallelBlock)
        self.norm = exact(block.norm if self.parallel else block.attention_norm)
        self.qkv = TurnedLinear.from_linears(attention.q_proj, attention.k_proj, attention.v_proj)
        self.q_norm, self.k_norm, self.v_norm = map(exact, (attention.q_norm, attention.k_norm, attention.v_norm))
        self.o_proj = TurnedLinear.from_linears(attention.o_proj)
        if not self.parallel:
            self.out_norm, self.mlp_norm = exact(block.attention_out_norm), exact(block.mlp_norm)
            self.mlp_out_norm = exact(block.mlp_out_norm)
        self.gated, self.activation = isinstance(mlp, GatedFeedForward), quick(mlp.activation)
        first = (mlp.gate_proj, mlp.up_proj) if self.gated else (mlp.up_proj,)
        self.up, self.down = TurnedLinear.from_linears(*first), TurnedLinear.from_linears(mlp.down_proj)

    def forward(self, part: str, *arguments: torch.Tensor) -> Any:
        """One of the parts by its name: what torch.func.functional_call can call."""
        return getattr(self, part)(*arguments)

    def enter(self, x_NC: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> Three:
        """q (N, H, D), k and v (N, K, D), normed and turned, of `dtype`."""
        H, K, D = self.num_heads, self.num_kv_heads, self.head_width
        q, k, v = self.qkv(self.norm(x_NC)).split([H * D, K * D, K * D], dim=-1)
        q_NHD = self.q_norm(q.unflatten(-1, (H, D)))
        k_NKD = self.k_norm(k.unflatten(-1, (K, D)))
        v_NKD = self.v_norm(v.unflatten(-1, (K, D)))
        q_NHD, k_NKD = self._turn(q_NHD, cos, sin), self._turn(k_NKD, cos, sin)
        return q_NHD.to(self.dtype), k_NKD.to(self.dtype), v_NKD.to(self.dtype)

    def leave(self, x_NC: torch.Tensor, y_NE: torch.Tensor) -> torch.Tensor:
        """The block's output; y: what attention saw, its heads side by side."""
        if self.parallel:
            return x_NC + self.o_proj(y_NE) + self._feed_forward(self.norm(x_NC))
        x_NC = x_NC + self.out_norm(self.o_proj(y_NE))
        return x_NC + self.mlp_out_norm(self._feed_forward(self.mlp_norm(x_NC)))

    def step(
        self,
        x_BC: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        keys_PKD: torch.Tensor,
        values_PKD: torch.Tensor,
        slots_B: torch.Tensor,
        seen_BS: torch.Tensor,
        mask_BS: torch.Tensor,
    ) -> torch.Tensor:
        """The whole block for the next token of B texts, whose keys and values lie in slots of pages.

        slots: where the new ones go. seen: the slots a token sees, its own among them; mask: 0, −∞ where there is none.
        """
        q_BHD, k_BKD, v_BKD = self.enter(x_BC, cos, sin)
        keys_PKD.index_put_((slots_B,), k_BKD)
        values_PKD.index_put_((slots_B,), v_BKD)
        # Sums instead of matrix products: fused, they read keys and values where they lie and copy nothing.
        q_B1KGD = q_BHD.float().unflatten(1, (self.num_kv_heads, -1))[:, None]
        k_BSK1D, v_BSK1D = (pages[seen_BS].float().unsqueeze(3) for pages in (keys_PKD, values_PKD))
        scores_BSKG = (q_B1KGD * k_BSK1D).sum(-1) * self.scale + mask_BS[:, :, None, None]
        # The softmax's divisor last: within the sum it would divide anew for each number of v.
        weights_BSKG = (scores_BSKG - scores_BSKG.amax(1, keepdim=True)).exp()
        y_BKGD = (weights_BSKG.unsqueeze(-1) * v_BSK1D).sum(1) / weights_BSKG.sum(1).unsqueeze(-1)
        return self.leave(x_BC, y_BKGD.flatten(1))

    def _feed_forward(self, x_NC: torch.Tensor) -> torch.Tensor:
        if not self.gated:
            return self.down(self.activation(self.up(x_NC)))
        gate_NF, up_NF = self.up(x_NC).chunk(2, dim=-1)
        return self.down(self.activation(gate_NF) * up_NF)

    def _turn(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        width = self.turned_width
        if not width:
            return x
        if width == x.shape[-1]:
            return rotate(x, cos, sin)
        return torch.cat((rotate(x[..., :width], cos, sin), x[..., width:]), dim=-1)
