"""Writes the plans of docs/scale.md: how a launch of many GPUs is divided, and how much memory each needs.

    python scripts/scale.py

Arithmetic on the models' sizes; no model is made.

With N numbers in S shards, each 4 bytes of master, 4 of gradient and the optimizer's states (Adam 8, Muon 4):

    held = N · (8 + states) / S
    gathered = 2 bytes · (embedding + head + two blocks)            a block is gathered while another computes
    activations = 2 bytes · tokens · width · layers                  with recompute: a block's input alone
                + 2 bytes · tokens · (inside of one block) + 12 bytes · tokens a chunk · V
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- table: python scripts/scale.py -->\n", "<!-- end of table -->"

STATE_BYTES = {"muon": 4, "adamw": 8, "lion": 4}
LOGITS_CHUNK_TOKENS = 1024
TOKENS = 8192
"""Of a process's micro-batch."""
MEMORY_BYTES = 76 * 10**9
"""What a GPU of 80 GB leaves to torch."""
GPUS_OF_A_MACHINE = 8
OVERHEAD_BYTES = 2 * 2**30
"""The driver's context, the communicator's buffers, what the allocator loses."""


@dataclass(frozen=True)
class Sizes:
    """Of a decoder with gated feed-forward and a tied or own head."""

    name: str
    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    vocab: int
    tied: bool = False

    @property
    def block(self) -> int:
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.width * self.hidden

    @property
    def ends(self) -> int:
        return self.vocab * self.width * (1 if self.tied else 2)

    @property
    def total(self) -> int:
        return self.layers * self.block + self.ends

    @property
    def inside(self) -> int:
        """Numbers a token leaves inside one block for its gradient."""
        return 6 * self.width + self.head_width * (3 * self.heads + 4 * self.kv_heads) + 4 * self.hidden


@dataclass(frozen=True)
class Plan:
    """tensor: processes that divide each matrix; shards: those that divide the model; copies: how often the whole model
    exists. Their product (tensor · shards) · copies is the number of GPUs."""

    gpus: int
    tensor: int
    shards: int
    held_bytes: int
    gathered_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.held_bytes + self.gathered_bytes + self.activation_bytes + OVERHEAD_BYTES


MODELS = (
    Sizes("Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151_936, tied=True),
    Sizes("Qwen3-8B", 36, 4096, 12_288, 32, 8, 128, 151_936),
    Sizes("Qwen3-32B", 64, 5120, 25_600, 64, 8, 128, 151_936),
    Sizes("Llama-3-70B", 80, 8192, 28_672, 64, 8, 128, 128_256),
)
"""Published shapes."""


def plan(sizes: Sizes, gpus: int, tokens: int, optimizer: str = "muon", tensor: int = 1) -> Plan:
    """FSDP over all GPUs, or over groups of `tensor` GPUs that divide each matrix. tokens: of one micro-batch of a
    process."""
    held = sizes.total * (8 + STATE_BYTES[optimizer]) // gpus
    gathered = 2 * (sizes.ends + 2 * sizes.block) // tensor
    kept = 2 * tokens * sizes.width * sizes.layers + 2 * tokens * sizes.inside // tensor
    logits = 12 * min(tokens, LOGITS_CHUNK_TOKENS) * sizes.vocab
    return Plan(gpus, tensor, gpus // tensor, held, gathered, kept + logits)


def smallest_tensor(sizes: Sizes, gpus: int, tokens: int, memory_bytes: int) -> Plan | None:
    """The plan with the least division of matrices (it costs the most traffic) that fits; None where none does."""
    tensor = 1
    while tensor <= min(gpus, sizes.kv_heads, GPUS_OF_A_MACHINE):
        found = plan(sizes, gpus, tokens, tensor=tensor)
        if gpus % tensor == 0 and found.total_bytes <= memory_bytes:
            return found
        tensor *= 2
    return None


def table() -> str:
    lines = [
        "| model | GPUs | tensor × shards | held | gathered | activations | in all | global batch |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for sizes in MODELS:
        for gpus in (1, 8, 64, 512):
            found = smallest_tensor(sizes, gpus, TOKENS, MEMORY_BYTES)
            name = f"{sizes.name}, {sizes.total / 1e9:.1f} G numbers"
            if found is None:
                need = plan(sizes, gpus, TOKENS).total_bytes
                lines.append(f"| {name} | {gpus} | does not fit ({need / 1e9:,.0f} GB) | | | | | |")
                continue
            parts = (found.held_bytes, found.gathered_bytes, found.activation_bytes, found.total_bytes)
            figures = " | ".join(f"{part / 1e9:.1f} GB" for part in parts)
            batch = TOKENS * found.shards
            lines.append(f"| {name} | {gpus} | {found.tensor} × {found.shards} | {figures} | {batch:,} tokens |")
    return "\n".join(lines) + "\n"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + table() + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
