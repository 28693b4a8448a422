"""Cross-entropy that never holds all logits: forward and backward in one walk over blocks of them.

With a token's logits z = shape(x·Wᵀ + b) and target y, V the vocabulary, ε label smoothing, w the z-loss's weight:

    loss = lse − (1 − ε)·z_y − ε·mean(z) + w·lse²              lse = log Σ exp z
    ∂loss/∂z = softmax(z)·(1 + 2·w·lse) − (1 − ε)·[v = y] − ε/V

Label smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567; z-loss: PaLM, https://arxiv.org/abs/2204.02311.
The gradient needs nothing that the loss doesn't, so a block of logits becomes, in place, the gradient of its logits and
then its share of the gradients of x, W and b; backward only scales them. Softmaxes and sums are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from hanlin.core.model.encoder import Encoder
from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.run.errors import HanlinError

IGNORED = -100
"""A target that is not trained: a prompt's token, or padding."""

MAX_BYTES = 2**27
"""Of the logits that are held, and of a weight's gradient that is summed up in float32, block after block of tokens."""

EXACT_WIDTH = 2**14
"""torch's softmax on a CPU adds a row up number after number: 4e-5 off for 262,144 of them. Wider rows are divided by
their true sum."""

Shape = Callable[[torch.Tensor], torch.Tensor]
Gradients = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]
Wanted = tuple[bool, bool, bool]


@dataclass(frozen=True)
class CrossEntropy:
    """−Σ log p(target) in nats over the trained tokens, with its options: see the formula above."""

    label_smoothing: float = 0.0
    z_loss: float = 0.0

    def __call__(self, model: Any, states_BTC: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """A float32 scalar, for what the model's head reads (B, T, C) and targets (B, T), IGNORED where nothing is
        trained: the head runs on trained tokens alone. Without one: zero, which still has a graph.

        Raises HanlinError for an encoder without a masked-language-model head.
        """
        states_NC, targets_N = _trained_tokens(states_BTC, targets_BT)
        states_NC, projection, shape = _last_projection(model, states_NC)
        if type(projection) is nn.Linear:
            weight, bias = projection.weight, projection.bias
            return linear_cross_entropy(states_NC, weight, targets_N, bias, shape, self.label_smoothing, self.z_loss)
        return self._through_module(projection, shape, states_NC, targets_N, model.vocab_size)

    def _through_module(
        self,
        projection: nn.Module,
        shape: Shape | None,
        states_NC: torch.Tensor,
        targets_N: torch.Tensor,
        vocab_size: int,
    ) -> torch.Tensor:
        """For a projection that isn't one matrix (an adapter's, say): in blocks of tokens, whose logits are computed
        once more for the gradient instead of being kept."""

        def loss(states_nC: torch.Tensor, targets_n: torch.Tensor) -> torch.Tensor:
            logits = _accumulating(projection(states_nC))
            logits = logits if shape is None else shape(logits)
            total = F.cross_entropy(logits, targets_n, reduction="sum", label_smoothing=self.label_smoothing)
            return total + self.z_loss * logits.logsumexp(-1).square().sum() if self.z_loss else total

        tokens = max(1, MAX_BYTES // (8 * vocab_size))
        parts = zip(states_NC.split(tokens), targets_N.split(tokens))
        return torch.stack([checkpoint(loss, *part, use_reentrant=False) for part in parts]).sum()


def _trained_tokens(states_BTC: torch.Tensor, targets_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States (N, C) and targets (N,) where the target is not IGNORED."""
    states, targets = states_BTC.flatten(0, -2), targets_BT.flatten()
    trained = targets != IGNORED
    if bool(trained.all()):
        return states, targets
    places = trained.nonzero().squeeze(-1)
    return states.index_select(0, places), targets[places]


def _last_projection(model: Any, states_NC: torch.Tensor) -> tuple[torch.Tensor, nn.Module, Shape | None]:
    """What of the head comes before its matrix is done here; its matrix; what comes after."""
    if isinstance(model, Encoder):
        head = model.head
        if head is None:
            raise HanlinError(
                "This encoder has no head that predicts tokens.",
                "a masked language model (its config.json names …ForMaskedLM)",
                "pretrain one, or open a folder whose weights have the head",
                "docs/families.md",
            )
        return head.norm(head.activation(head.dense(states_NC))), head.decoder, None
    if isinstance(model, EncoderDecoder):
        return states_NC if model.head_scale == 1 else states_NC * model.head_scale, model.lm_head, None
    return states_NC, model.lm_head, model.shape_logits


def linear_cross_entropy(
    states_NC: torch.Tensor,
    weight_VC: torch.Tensor,
    targets_N: torch.Tensor,
    bias_V: torch.Tensor | None = None,
    shape: Shape | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> torch.Tensor:
    """Sum of the losses of N tokens, a float32 scalar (float64 for float64). targets: 0 … V − 1.

    shape: what happens to logits before the softmax, number by number (a soft cap). It is applied in float32.
    Backward works once: it scales the gradients in place, since a weight's may be as large as the model.
    """
    head = _Head(weight_VC.detach(), None if bias_V is None else bias_V.detach(), shape, label_smoothing, z_loss)
    if not torch.is_grad_enabled():
        return _by_tokens(head, states_NC, targets_N, (False, False, False))[0].sum()
    return _Fused.apply(states_NC, weight_VC, bias_V, targets_N, head)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states_NC: torch.Tensor,
        weight_VC: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_N: torch.Tensor,
        head: _Head,
    ) -> torch.Tensor:
        wanted: Wanted = ctx.needs_input_grad[:3]
        # Each of the two costs something where a weight is trained whose logits don't fit: one reads and writes a sum
        # of the weight's size for each block of tokens, the other computes the logits twice.
        fits = len(states_NC) <= head.at_once(len(weight_VC)) or 4 * weight_VC.numel() <= MAX_BYTES
        whole = fits or not wanted[1]
        losses_N, gradients = (_by_tokens if whole else _by_vocabulary)(head, states_NC, targets_N, wanted)
        ctx.save_for_backward(*gradients)
        return losses_N.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return *(None if gradient is None else gradient.mul_(scale) for gradient in ctx.saved_tensors), None, None


def _by_tokens(
    head: _Head, states_NC: torch.Tensor, targets_N: torch.Tensor, wanted: Wanted
) -> tuple[torch.Tensor, Gradients]:
    """Losses (N,), and the gradients wanted of states, weight and bias: all logits of some tokens, then of the next."""
    num_tokens, vocab_size = len(states_NC), len(head.weight_VC)
    at_once = max(1, min(head.at_once(vocab_size), num_tokens))
    # One buffer for all blocks: memory that is fresh each time costs more than what is done in it.
    buffer = states_NC.new_empty(at_once * vocab_size)
    losses_N = _accumulating(states_NC.new_empty(0)).new_empty(num_tokens)
    states_gradient = torch.empty_like(states_NC) if wanted[0] else None
    weight_gradient, bias_gradient = _Sum(head.weight_VC), _Sum(head.bias_V)
    for part in _slices(num_tokens, at_once):
        states_nC, targets_n, losses_n = states_NC[part], targets_N[part], losses_N[part]
        logits_nV = head.logits(states_nC, slice(vocab_size), buffer)
        for rows in _row_groups(logits_nV):
            block = _Block(head, logits_nV[rows], targets_n[rows], 0, any(wanted))
            losses_n[rows] = head.losses(block.lse, block.target, block.total)
            if any(wanted):
                block.become_gradient()
        if states_gradient is not None:
            torch.mm(logits_nV, head.weight_VC, out=states_gradient[part])
        if wanted[1]:
            weight_gradient.add(logits_nV.T @ states_nC, at_once == num_tokens)
        if wanted[2]:
            bias_gradient.add(logits_nV.sum(0, dtype=losses_N.dtype), at_once == num_tokens)
    gradients = (
        states_gradient,
        weight_gradient.result() if wanted[1] else None,
        bias_gradient.result() if wanted[2] else None,
    )
    return losses_N, gradients


def _by_vocabulary(
    head: _Head, states_NC: torch.Tensor, targets_N: torch.Tensor, wanted: Wanted
) -> tuple[torch.Tensor, Gradients]:
    """The same: logits of some of the vocabulary for all tokens, then of the next part; once for the logarithm of the
    sum of all exponentials, which the gradients need, and once more for them."""
    num_tokens, vocab_size = len(states_NC), len(head.weight_VC)
    columns = min(vocab_size, head.at_once(num_tokens))
    buffer = states_NC.new_empty(num_tokens * columns)
    zeros_N1 = _accumulating(states_NC.new_empty(0)).new_zeros(num_tokens, 1)
    lse_N1, target_N1, total_N1 = zeros_N1 - torch.inf, zeros_N1.clone(), zeros_N1.clone()
    parts = list(_slices(vocab_size, columns))
    for part in parts:
        logits_Nv = head.logits(states_NC, part, buffer)
        for rows in _row_groups(logits_Nv):
            block = _Block(head, logits_Nv[rows], targets_N[rows], part.start, False)
            lse_N1[rows] = torch.logaddexp(lse_N1[rows], block.lse)
            target_N1[rows] += block.target
            total_N1[rows] += block.total
    states_gradient = zeros_N1.new_zeros(states_NC.shape)
    weight_gradient = torch.empty_like(head.weight_VC)
    bias_gradient = None if head.bias_V is None else torch.empty_like(head.bias_V)
    for part in reversed(parts):
        if part is not parts[-1]:  # whose logits are still there
            logits_Nv = head.logits(states_NC, part, buffer)
        for rows in _row_groups(logits_Nv):
            _Block(head, logits_Nv[rows], targets_N[rows], part.start, True).become_gradient(lse_N1[rows])
        torch.mm(logits_Nv.T, states_NC, out=weight_gradient[part])
        if bias_gradient is not None:
            bias_gradient[part] = logits_Nv.sum(0, dtype=zeros_N1.dtype)
        if wanted[0]:
            states_gradient += logits_Nv @ head.weight_VC[part]
    losses_N = head.losses(lse_N1, target_N1, total_N1)
    return losses_N, (
        states_gradient.to(states_NC.dtype) if wanted[0] else None,
        weight_gradient,
        bias_gradient if wanted[2] else None,
    )


@dataclass(frozen=True)
class _Head:
    weight_VC: torch.Tensor
    bias_V: torch.Tensor | None
    shape: Shape | None
    label_smoothing: float
    z_loss: float

    def at_once(self, columns: int) -> int:
        """How many rows of logits, of so many columns each, are held."""
        return max(1, MAX_BYTES // (max(1, columns) * self.weight_VC.element_size()))

    def logits(self, states_nC: torch.Tensor, part: slice, buffer: torch.Tensor) -> torch.Tensor:
        """Of part of the vocabulary, not shaped yet, in the buffer's memory."""
        weight_Cv = self.weight_VC[part].T
        logits_nv = buffer[: len(states_nC) * weight_Cv.shape[1]].view(len(states_nC), -1)
        if self.bias_V is None:
            return torch.mm(states_nC, weight_Cv, out=logits_nv)
        return torch.addmm(self.bias_V[part], states_nC, weight_Cv, out=logits_nv)

    def losses(self, lse_n1: torch.Tensor, target_n1: torch.Tensor, total_n1: torch.Tensor | float) -> torch.Tensor:
        """(n,), from lse, the target's logit and the sum of all logits."""
        smoothing = self.label_smoothing
        losses_n1 = lse_n1 - (1 - smoothing) * target_n1
        if smoothing:
            losses_n1 = losses_n1 - smoothing / len(self.weight_VC) * total_n1
        if self.z_loss:
            losses_n1 = losses_n1 + self.z_loss * lse_n1.square()
        return losses_n1.squeeze(-1)


class _Block:
    """Logits of n tokens for the vocabulary's part that begins at `first`: their lse, the target's logit (0 where it
    isn't among them) and their sum (0 where nobody needs it), (n, 1) each; then their gradient."""

    def __init__(self, head: _Head, logits_nv: torch.Tensor, targets_n: torch.Tensor, first: int, graded: bool):
        self.head, self.logits_nv = head, logits_nv
        shaped = _accumulating(logits_nv)
        if head.shape is not None:
            with torch.set_grad_enabled(graded):
                self.unshaped = shaped.detach().requires_grad_(graded)
                self.shaped = head.shape(self.unshaped)
            shaped = self.shaped.detach()
        self.probabilities = shaped.softmax(-1)
        self.lse = shaped.amax(-1, keepdim=True) - self.probabilities.amax(-1, keepdim=True).log()
        if shaped.shape[-1] > EXACT_WIDTH:
            sums_n1 = self.probabilities.sum(-1, keepdim=True)
            self.probabilities.div_(sums_n1)
            self.lse += sums_n1.log()
        places_n1 = (targets_n - first).unsqueeze(-1)
        self.places = places_n1.clamp(0, shaped.shape[-1] - 1)
        self.inside = (places_n1 == self.places).to(shaped.dtype)
        self.target = shaped.gather(-1, self.places) * self.inside
        self.total = shaped.sum(-1, keepdim=True) if head.label_smoothing else 0.0

    def become_gradient(self, lse_n1: torch.Tensor | None = None) -> None:
        """Overwrite the logits. lse: of the whole vocabulary, where the block is a part of it."""
        head, gradient = self.head, self.probabilities
        del self.probabilities  # freed before the next block asks for as much
        if lse_n1 is not None:
            gradient.mul_((self.lse - lse_n1).exp())
        if head.z_loss:
            gradient.mul_(1 + 2 * head.z_loss * (self.lse if lse_n1 is None else lse_n1))
        gradient.scatter_add_(-1, self.places, self.inside * (head.label_smoothing - 1))
        if head.label_smoothing:
            gradient.sub_(head.label_smoothing / len(head.weight_VC))
        if head.shape is not None:
            (gradient,) = torch.autograd.grad(self.shaped, self.unshaped, gradient)
        self.logits_nv.copy_(gradient)


class _Sum:
    """A gradient that comes in parts: summed in float32, rounded to the parameter's own type once."""

    def __init__(self, parameter: torch.Tensor | None):
        self.parameter = parameter
        self.value: torch.Tensor | None = None

    def add(self, part: torch.Tensor, only: bool) -> None:
        if self.value is None:
            self.value = part if only else _accumulating(part)
        else:
            self.value += part

    def result(self) -> torch.Tensor:
        assert self.parameter is not None
        return torch.zeros_like(self.parameter) if self.value is None else self.value.to(self.parameter.dtype)


def _accumulating(tensor: torch.Tensor) -> torch.Tensor:
    """float32, or float64 where it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _slices(length: int, step: int) -> Iterator[slice]:
    return (slice(first, min(first + step, length)) for first in range(0, length, step))


def _row_groups(logits_nv: torch.Tensor) -> Iterator[slice]:
    """Rows that are worked on together, at least one for each thread: a softmax shares rows out among them."""
    rows = max(torch.get_num_threads(), _logits_at_once(logits_nv.device) // logits_nv.shape[1])
    return _slices(len(logits_nv), rows)


def _logits_at_once(device: torch.device) -> int:
    """As many as stay in a processor's cache from one operation to the next; enough to keep an accelerator busy."""
    return 2**20 if device.type == "cpu" else 2**25
