"""What a launch of several processes refuses before its first step. What two of them compute: tests/flow."""

from __future__ import annotations

import pytest
import torch
from toy import small_decoder

from hanlin.core.run.errors import HanlinError
from hanlin.core.train.config import Train
from hanlin.core.train.parallel import Parallel, blocks_of, this_device

CPU = torch.device("cpu")


def test_one_process_is_the_plain_case() -> None:
    parallel = Parallel(Train(steps=1), CPU)
    model = small_decoder()
    assert parallel.wrap(model, model, torch.float32) is model and not parallel.sharded
    assert (parallel.sum(2.5), parallel.first_says(0.5)) == (2.5, 0.5)


def test_experts_are_not_divided_into_shards() -> None:
    parallel = Parallel(Train(steps=1, parallel="fsdp"), CPU)
    parallel.mesh = object()  # as under torchrun; nothing of it is asked before the refusal
    model = small_decoder()
    model.layers[0].experts = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    with pytest.raises(HanlinError, match="processes that visit other experts"):
        parallel.wrap(model, model, torch.float32)


def test_a_number_that_does_not_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(HanlinError, match="tensor_parallel=3 does not divide the 4 processes"):
        Parallel(Train(steps=1, tensor_parallel=3, parallel="fsdp"), CPU)
    with pytest.raises(HanlinError, match="needs shards between the groups"):
        Parallel(Train(steps=1, tensor_parallel=2), CPU)


def test_the_blocks_are_all_blocks() -> None:
    model = small_decoder(num_layers=3)
    assert blocks_of(model) == list(model.layers)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    assert this_device("auto") == this_device("cpu") == CPU
    with pytest.raises(HanlinError, match="torch sees no GPU"):
        this_device("cuda")
