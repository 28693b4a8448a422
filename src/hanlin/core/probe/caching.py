"""What a model keeps of what it has read: bytes by kind of layer, blocks, and what a second prompt finds there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.model.attention import Attention


@dataclass(frozen=True)
class LayerKind:
    """Layers that keep the same. bytes_per_token and bytes_per_text (whatever its length): of all of them together."""

    name: str
    num_layers: int
    bytes_per_token: int
    bytes_per_text: int


@dataclass(frozen=True)
class Asked:
    """One prompt: its tokens, those that were known already, the blocks it holds, and the time to its first token."""

    num_tokens: int
    num_shared: int
    num_blocks: int
    seconds: float


def layer_kinds(engine: Engine) -> list[LayerKind]:
    """In the order in which they first come."""
    memory = engine.memory
    states = iter(memory.empty_states())
    found: dict[str, LayerKind] = {}
    for layer, pages in zip(engine.model.layers, memory.pages):
        name, slots = kind_of(layer), engine.blocks.num_blocks * engine.blocks.block_tokens
        per_token = pages.num_bytes // slots if pages is not None else 0
        per_text = 0 if pages is not None else sum(map(_num_bytes, next(states)))
        known = found.get(name, LayerKind(name, 0, 0, 0))
        found[name] = LayerKind(
            name, known.num_layers + 1, known.bytes_per_token + per_token, known.bytes_per_text + per_text
        )
    return list(found.values())


def kind_of(layer: nn.Module) -> str:
    attention = next((module for module in layer.modules() if isinstance(module, Attention)), None)
    if attention is None:
        return "recurrent state"
    return f"attention, window {attention.window:,}" if attention.window else "attention"


def _num_bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def ask(engine: Engine, prompt: Sequence[int]) -> Asked:
    """Read a prompt up to the first token of its reply; nothing else may be going on. What was read stays known."""
    ticket = engine.submit(prompt, GREEDY.model_copy(update={"max_tokens": 1}))
    began = time.perf_counter()
    while not ticket.done:
        engine.step()
    seconds = time.perf_counter() - began
    if ticket.error is not None:
        raise ticket.error
    return Asked(len(prompt), ticket.num_shared, engine.passes.needed(len(prompt)), seconds)
