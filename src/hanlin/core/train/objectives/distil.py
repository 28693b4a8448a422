"""Knowledge distillation: learn all that a larger model says of the next token, not only which one came. Hinton et al.
2015, https://arxiv.org/abs/1503.02531; reverse: Gu et al. 2023, https://arxiv.org/abs/2306.08543.

With p the teacher's and q the student's distribution, both softmaxes of logits / temperature:

    forward = Σ p · (log p − log q)          the student covers whatever the teacher may say
    reverse = Σ q · (log q − log p)          the student keeps to what the teacher is sure of
    loss    = share · temperature² · KL − (1 − share) · log q₁(target)

Of p only the k likeliest tokens are kept (core/train/teacher.py); all others together are one outcome more, on both
sides. With k = V it is the KL of whole distributions, with less a lower bound of it. temperature² keeps the gradient's
size; q₁ is the student at temperature 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.train.batch import IGNORED, Batch

LOGITS_AT_ONCE = 2**24
"""Numbers of the student's logits that are held together."""

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class Distil:
    """`extras`: `teacher_ids` and `teacher_logprobs` (B, T, k), `teacher_rest` (B, T), the log-probability of all other
    tokens together, at this temperature. What stands where nothing is trained is not read."""

    direction: Direction = "forward"
    temperature: float = 1.0
    share: float = 0.5
    cross_entropy: CrossEntropy = CrossEntropy()

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        """The sum over the batch's trained tokens, in nats."""
        states_BTC = model.states(batch.ids_BT, batch.documents_BT)
        total = states_BTC.new_zeros((), dtype=torch.float32)
        if self.share < 1:
            total = total + (1 - self.share) * self.cross_entropy(model, states_BTC, batch.targets_BT)
        if self.share > 0:
            trained_BT = batch.targets_BT != IGNORED
            kept = [batch.extras[name][trained_BT] for name in ("teacher_ids", "teacher_logprobs", "teacher_rest")]
            total = total + self.share * self.temperature**2 * self._divergence(model, states_BTC[trained_BT], *kept)
        return total

    def _divergence(
        self,
        model: Any,
        states_NC: torch.Tensor,
        ids_Nk: torch.Tensor,
        logprobs_Nk: torch.Tensor,
        rest_N: torch.Tensor,
    ) -> torch.Tensor:
        """In chunks of tokens, whose logits are computed once more for the gradient instead of being kept."""

        def of_chunk(
            states: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor, rest: torch.Tensor
        ) -> torch.Tensor:
            logits = model.head(states).float() / self.temperature
            return divergence(logits, ids, logprobs, rest, self.direction).sum()

        total = states_NC.new_zeros((), dtype=torch.float32)
        rows = max(1, LOGITS_AT_ONCE // model.vocab_size)
        for chunk in zip(*(tensor.split(rows) for tensor in (states_NC, ids_Nk, logprobs_Nk, rest_N))):
            total = total + checkpoint(of_chunk, *chunk, use_reentrant=False)
        return total


def divergence(
    logits_NV: torch.Tensor,
    ids_Nk: torch.Tensor,
    logprobs_Nk: torch.Tensor,
    rest_N: torch.Tensor,
    direction: Direction,
) -> torch.Tensor:
    """KL of each token, (N,), in nats. logits: the student's, divided by the temperature, float32."""
    ids_Nk = ids_Nk.long()
    whole_N1 = logits_NV.logsumexp(-1, keepdim=True)
    teacher, student = logprobs_Nk.float(), logits_NV.gather(-1, ids_Nk) - whole_N1
    if ids_Nk.shape[-1] < logits_NV.shape[-1]:
        others_NV = logits_NV.scatter(-1, ids_Nk, -torch.inf)
        teacher = torch.cat([teacher, rest_N.float()[:, None]], dim=-1)
        student = torch.cat([student, others_NV.logsumexp(-1, keepdim=True) - whole_N1], dim=-1)
    if direction == "forward":
        return (teacher.exp() * (teacher - student)).sum(-1)
    return (student.exp() * (student - teacher)).sum(-1)
