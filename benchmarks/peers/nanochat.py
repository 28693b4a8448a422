"""nanochat's model and optimizer on this machine, from a checkout the user names (github.com/karpathy/nanochat).

Imported as they are, in bfloat16, compiled, with full attention windows as its own CPU script has them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

IGNORED = -1
"""Its target that is not trained."""

WARM_UP_STEPS, WARM_DOWN_SHARE, FINAL_SHARE = 40, 0.65, 0.05
"""Of scripts/base_train.py: the rate rises, stays, and falls linearly to a share of it."""


@dataclass
class Nanochat:
    model: Any
    compiled: Any
    optimizer: Any

    def step(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """One update at the rates that are set; the mean loss in nats, not yet computed."""
        loss = self.compiled(ids_BT, targets_BT)
        loss.backward()
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return loss.detach()

    def schedule(self, step: int, progress: float) -> None:
        """Its rates and momentum at `step`, with `progress` of the run done (nanochat counts steps; a run of so many
        minutes doesn't know their number)."""
        falling = max(0.0, (progress - (1 - WARM_DOWN_SHARE)) / WARM_DOWN_SHARE)
        scale = min((step + 1) / WARM_UP_STEPS, 1 - falling * (1 - FINAL_SHARE))
        rising = min(1.0, step / 400)
        momentum = 0.97 - 0.07 * falling if falling else 0.85 + 0.12 * rising
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * scale
            if group["kind"] == "muon":
                group["momentum"] = momentum


def why_missing(checkout: Path | None) -> str | None:
    if checkout is None:
        return "no checkout: --nanochat PATH names one"
    return None if (checkout / "nanochat" / "gpt.py").exists() else f"{checkout} is no checkout of nanochat"


def new(
    checkout: Path, vocab_size: int, num_layers: int, num_heads: int, width: int, context: int, rates: float = 1.0
) -> Nanochat:
    """A model with its first weights. rates: multiplies the learning rates of `setup_optimizer`."""
    os.environ.setdefault("NANOCHAT_DTYPE", "bfloat16")
    sys.path.insert(0, str(checkout))
    gpt = importlib.import_module("nanochat.gpt")
    config = gpt.GPTConfig(
        sequence_len=context,
        vocab_size=vocab_size,
        n_layer=num_layers,
        n_head=num_heads,
        n_kv_head=num_heads,
        n_embd=width,
        window_pattern="L",
    )
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        with torch.device("meta"):
            model = gpt.GPT(config)
        model.to_empty(device="cpu")
        model.init_weights()
        optimizer = model.setup_optimizer()
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = group["initial_lr"] * rates
    return Nanochat(model, torch.compile(model, dynamic=False), optimizer)
