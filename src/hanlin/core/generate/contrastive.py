"""Contrastive search: of the likeliest tokens the one whose state is least like any before it. Su et al. 2022,
https://arxiv.org/abs/2202.06417, eq. 5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from hanlin.core.generate.continuations import Continuations
from hanlin.core.generate.strategies.largest import largest
from hanlin.core.generate.strategies.softmax import probabilities
from hanlin.core.model.pretrained import Pretrained


@torch.inference_mode()
def contrastive_search(loaded: Pretrained, prompt: Sequence[int], k: int, alpha: float, max_tokens: int) -> list[int]:
    """The reply's ids, the stop token included. Raises HanlinError where `Continuations` does.

    At each place, of the k likeliest tokens v: argmax (1 − α)·P(v) − α·max_j cos(h_v, h_j), h the normed last state
    after a token, j all tokens before (an encoder-decoder's: of the target). alpha 0 or k 1 is greedy. Each of the k is
    read to know its state: that costs a batch of k a token."""
    texts = Continuations(loaded, prompt, max_tokens)
    directions_SC = F.normalize(texts.begun_TC.float(), dim=-1)
    logits_V = texts.logits(texts.begun_TC[-1:])[0]
    reply: list[int] = []
    while len(reply) < texts.budget:
        shares_k, ids_k = largest(probabilities(logits_V), min(k, len(logits_V)))
        texts.select([0] * len(ids_k))
        states_kC = texts.read(ids_k.tolist())
        directions_kC = F.normalize(states_kC.float(), dim=-1)
        likeness_k = (directions_kC @ directions_SC.mT).amax(dim=1)
        best = int(((1 - alpha) * shares_k - alpha * likeness_k).argmax())
        reply.append(int(ids_k[best]))
        if reply[-1] in loaded.stop_ids:
            break
        texts.select([best])
        directions_SC = torch.cat([directions_SC, directions_kC[best : best + 1]])
        logits_V = texts.logits(states_kC[best : best + 1])[0]
    return reply
