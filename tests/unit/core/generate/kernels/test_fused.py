"""Blocks in one piece each: compiled or not, paged or not, one text or several, they compute what the blocks do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_families import tiny_model
from torch import nn

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.kernels import compiled, with_weights
from hanlin.core.generate.kernels.apply import shared_copy
from hanlin.core.generate.kernels.fused import FusedBlock
from hanlin.core.generate.kernels.parts import Parts, can_be_taken_apart
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.compiling import compiler_name

CLOSE = 0.05
"""What 8 bits may change: a share of the logits' own spread, or of the largest."""


@pytest.fixture(scope="module")
def fused(tiny_model_folder: Path) -> Pretrained:
    """Compiled where this machine can."""
    return with_weights(load(tiny_model_folder), "int8")


@pytest.mark.parametrize("family", ["qwen3", "gemma3", "olmo2"])
@torch.no_grad()
def test_taken_apart_a_block_computes_the_same(family: str, tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model(family, tiny_tokenizer)
    assert all(map(can_be_taken_apart, loaded.model.layers))
    model = shared_copy(loaded.model)
    model.layers = nn.ModuleList(FusedBlock(Parts(block), block) for block in loaded.model.layers)
    ids = torch.randint(loaded.model.vocab_size, (2, 20), generator=torch.Generator().manual_seed(0))
    wanted, found = loaded.model(ids), model(ids)
    assert (found - wanted).std() < CLOSE * wanted.std()
    cache = model.new_cache(2, 20)
    pieces = [model(ids[:, start : start + 5], cache) for start in range(0, 20, 5)]
    assert (torch.cat(pieces, dim=1) - found).std() < CLOSE * found.std()


@pytest.mark.skipif(compiler_name() is None, reason="no C++ compiler")
@torch.inference_mode()
def test_what_the_engine_writes_is_what_the_plain_parts_would(fused: Pretrained) -> None:
    """Prompts of several lengths, alone and together: chunks by `enter` and `leave`, tokens by `one` and `many`."""
    blocks = [layer for layer in fused.model.layers if isinstance(layer, FusedBlock)]
    if not blocks:
        pytest.skip("this machine multiplies whole numbers no faster")
    assert all(block.programs is not None for block in blocks)
    random = torch.Generator().manual_seed(0)
    prompts = [torch.randint(fused.model.vocab_size, (n,), generator=random).tolist() for n in (1, 3, 40)]
    sampling = GREEDY.model_copy(update={"max_tokens": 8})
    engine = Engine(fused, EngineOptions(block_tokens=4, chunk_tokens=16, cache_tokens=512))
    alone = [[piece.token for piece in engine.stream(prompt, sampling)] for prompt in prompts]
    tickets = [engine.submit(prompt, sampling) for prompt in prompts]
    while engine.busy:
        engine.step()
    together = [[piece.token for piece in ticket.pieces] for ticket in tickets]
    engine.close()
    programs = [block.programs for block in blocks]
    for block in blocks:
        block.programs = None
    try:
        for prompt, *replies in zip(prompts, alone, together):
            for reply in replies:
                logits_TV = fused.model(torch.tensor([prompt + reply]))[0, len(prompt) - 1 : -1]
                chosen_T = logits_TV.gather(1, torch.tensor(reply)[:, None])[:, 0]
                assert (logits_TV.amax(-1) - chosen_T <= CLOSE * logits_TV.abs().max()).all()
    finally:
        for block, own in zip(blocks, programs):
            block.programs = own


@pytest.mark.skipif(compiler_name() is None, reason="no C++ compiler")
def test_compiled_and_plain_write_the_same_ids(fused: Pretrained) -> None:
    blocks = [layer for layer in fused.model.layers if isinstance(layer, FusedBlock)]
    if not blocks:
        pytest.skip("this machine multiplies whole numbers no faster")
    random = torch.Generator().manual_seed(1)
    prompts = [torch.randint(fused.model.vocab_size, (n,), generator=random).tolist() for n in (1, 5, 30)]

    def written() -> list[list[int]]:
        engine = Engine(fused, EngineOptions(block_tokens=4, chunk_tokens=16, cache_tokens=512))
        sampling = GREEDY.model_copy(update={"max_tokens": 24})
        return [[piece.token for piece in engine.stream(prompt, sampling)] for prompt in prompts]

    by_programs = written()
    programs = [block.programs for block in blocks]
    for block in blocks:
        block.programs = None
    try:
        assert written() == by_programs
    finally:
        for block, own in zip(blocks, programs):
            block.programs = own


def test_without_a_compiler_blocks_stay_plain(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compiler_name", lambda: None)
    monkeypatch.setattr(compiled, "key_of", lambda parts: "unknown")
    said: list[str] = []
    block = load(tiny_model_folder).model.layers[0]
    assert compiled.programs_of(Parts(block), lambda kind, **data: said.append(data["text"])) is None
    assert "compiler" in said[0]


def test_a_key_follows_structure_and_not_numbers(tiny_model_folder: Path) -> None:
    layers = load(tiny_model_folder).model.layers
    keys = {compiled.key_of(Parts(layer)) for layer in layers}
    assert len(keys) == 1 and compiled.key_of(Parts(layers[0], torch.bfloat16)) not in keys


def test_no_more_programs_are_kept_than_are_used(tmp_path: Path) -> None:
    for number in range(compiled.MOST_FILES + 3):
        (tmp_path / f"{number}.pt2").touch()
    compiled._forget_oldest(tmp_path)
    assert len(list(tmp_path.glob("*.pt2"))) == compiled.MOST_FILES
