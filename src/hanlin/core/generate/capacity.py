"""What an engine can hold on this machine."""

from __future__ import annotations

from typing import Any

import torch

from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.paged import bytes_per_token
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError


def refuse_unfit(loaded: Pretrained) -> None:
    """Raises HanlinError for a model that doesn't write text."""
    kind = getattr(loaded.family, "KIND", "decoder")
    if kind == "encoder":
        raise HanlinError(
            f"{loaded.path} is an {kind}: it doesn't write text.",
            "a decoder or an encoder-decoder",
            "hanlin show model …  says what a folder holds",
            "docs/families.md",
        )


def cache_blocks(model: Any, context: int, options: EngineOptions) -> int:
    """How many blocks: what was asked for; else enough for all texts at full length, within the share of memory that
    is free. Raises HanlinError where not even one block fits, or what was asked for doesn't."""
    each = bytes_per_token(model, options.cache) * options.block_tokens
    per_text = -(-context // options.block_tokens)
    if not each:  # recurrent: a text's memory doesn't grow
        return 0
    free = free_bytes(model.embed_tokens.weight.device)
    wanted = -(-options.cache_tokens // options.block_tokens) or per_text * options.max_streams
    affordable = int(free * (0.9 if options.cache_tokens else options.memory_share)) // each
    if (options.cache_tokens and wanted > affordable) or not affordable:
        raise HanlinError(
            f"A cache of {wanted * options.block_tokens:,} tokens takes {wanted * each / 2**30:.1f} GiB; "
            f"{free / 2**30:.1f} GiB are free.",
            "a cache that fits into memory",
            f"engine.cache_tokens={max(1, affordable) * options.block_tokens}, or engine.cache=int8",
            "docs/generate.md",
        )
    return min(wanted, affordable)


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    from hanlin.core.run.machine import available_bytes

    return available_bytes()
