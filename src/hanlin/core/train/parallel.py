"""Several processes as one: torchrun starts them, torch's own engines divide the work.

data: every process reads its part of each batch. DDP (Li et al. 2020, https://arxiv.org/abs/2006.15704) keeps whole
models and adds up gradients; FSDP2 (Zhao et al. 2023, https://arxiv.org/abs/2304.11277) keeps shards and gathers a
block when its turn comes. tensor: every process has a part of each matrix (Shoeybi et al. 2019,
https://arxiv.org/abs/1909.08053), and all of a tensor group read the same rows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from hanlin.core.model.decoder import tie
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.ranks import rank, world_size
from hanlin.core.train.config import Train

PATIENCE = timedelta(seconds=60)
"""How long a process waits for the others before it gives up."""

COLUMNS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
ROWS = ("o_proj", "down_proj")
HEAD_NORMS = ("q_norm", "k_norm", "v_norm")
"""Applied to this process's heads, (B, T, H, D): their gradient has to be added up."""


class Parallel:
    """How this run's processes share the work; one process alone is the plain case of all methods."""

    def __init__(self, config: Train, device: torch.device):
        self.config, self.device = config, device
        self.world, self.tensor = world_size(), config.tensor_parallel
        self.dtype = torch.float32
        self._module: Any = None
        self._model: Any = None
        if self.tensor > 1 and self.world > self.tensor and config.parallel != "fsdp":
            raise HanlinError(
                f"tensor_parallel={self.tensor} on {self.world} processes needs shards between the groups.",
                "parallel=fsdp",
                "train.parallel=fsdp",
                "docs/scale.md",
            )
        if self.world % self.tensor:
            raise HanlinError(
                f"tensor_parallel={self.tensor} does not divide the {self.world} processes.",
                "a divisor of the number of processes torchrun starts",
                "torchrun --nproc-per-node …, or train.tensor_parallel=1",
                "docs/scale.md",
            )
        self.mesh = self._start() if self.world > 1 else None
        self.data = self.world // self.tensor
        self.data_rank = rank() // self.tensor

    def _start(self) -> DeviceMesh:
        if not dist.is_initialized():
            kind = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(kind, timeout=PATIENCE)
        shape = (self.world // self.tensor, self.tensor)
        return init_device_mesh(self.device.type, shape, mesh_dim_names=("data", "tensor"))

    def wrap(self, model: nn.Module, module: nn.Module, dtype: torch.dtype) -> nn.Module:
        """`module`, which computes the loss and holds `model`, made ready for several processes. The parameters are
        replaced in place where they are sharded."""
        self._model, self._module, self.dtype = model, module, dtype
        if self.mesh is None:
            return module
        has_experts = any(".experts." in name for name, _ in model.named_parameters())
        if self.tensor > 1:
            divide_matrices(model, self.mesh["tensor"])
        if self.config.parallel == "fsdp":
            if has_experts:
                raise _experts_in_shards()
            policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
            for block in blocks_of(model):
                fully_shard(block, mesh=self.mesh["data"], mp_policy=policy)
            fully_shard(module, mesh=self.mesh["data"], mp_policy=policy, reshard_after_forward=False)
        elif self.data > 1:
            self._module = DistributedDataParallel(
                module, process_group=self.mesh["data"].get_group(), find_unused_parameters=has_experts
            )
        return self._module

    @property
    def sharded(self) -> bool:
        """Whether parameters are in parts, each float32 and its own master."""
        return self.mesh is not None and self.config.parallel == "fsdp"

    @contextlib.contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        """Around a micro-batch: gradients travel between processes after the last one alone."""
        if isinstance(self._module, FSDPModule):
            self._module.set_requires_gradient_sync(last)
            yield
        elif isinstance(self._module, DistributedDataParallel) and not last:
            with self._module.no_sync():
                yield
        else:
            yield

    def sum(self, value: float) -> float:
        """Added up over the processes that read different rows."""
        if self.mesh is None or self.data == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, group=self.mesh["data"].get_group())
        return float(tensor)

    def first_says(self, value: float) -> float:
        """What the first process has: time and Ctrl-C are its alone."""
        if self.mesh is None:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return float(tensor)

    def gather(self) -> None:
        """Make the model whole and plain in every process, of the training dtype: for measuring and saving."""
        if self.mesh is None or (self.tensor == 1 and not self.sharded):
            return
        whole = {name: whole_of(parameter).to(self.dtype) for name, parameter in self._model.named_parameters()}
        for module in self._model.modules():
            if isinstance(module, FSDPModule):
                module.__class__ = type(module).__bases__[1]  # it was made of FSDPModule and the module's own class
            for hooks in (module._forward_hooks, module._forward_pre_hooks):
                hooks.clear()
        for name, value in whole.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self._model.get_submodule(owner), leaf, nn.Parameter(value))
        tie(self._model)
        if self.tensor > 1:
            count_heads(self._model, self.tensor, 1)

    @contextlib.contextmanager
    def whole_model(self) -> Iterator[None]:
        """The model whole for a while. Not with tensor_parallel, where its matrices stay divided and work so."""
        modules = [m for m in self._module.modules() if isinstance(m, FSDPModule)] if self.mesh is not None else []
        for module in modules:
            module.unshard()
        try:
            yield
        finally:
            for module in modules:
                module.reshard()


def _experts_in_shards() -> HanlinError:
    return HanlinError(
        "parallel=fsdp adds up a block's gradients as one piece; processes that visit other experts have other pieces.",
        "a model without experts, or whole models that share gradients",
        "train.parallel=ddp",
        "docs/scale.md",
    )


def whole_of(parameter: Any) -> torch.Tensor:
    """All processes' parts of it, put together."""
    return parameter.full_tensor().detach() if isinstance(parameter, DTensor) else parameter.detach()


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """All blocks, of decoders, encoders and both."""
    return [
        block for name, part in model.named_modules() if name.split(".")[-1] == "layers" for block in part.children()
    ]


def divide_matrices(model: nn.Module, mesh: DeviceMesh) -> None:
    """Queries, keys, values and the feed-forward's first matrices by columns, the two that come back by rows. Raises
    HanlinError where heads don't divide."""
    for block in blocks_of(model):
        attention = getattr(block, "attention", None)
        kv_heads = getattr(attention, "num_kv_heads", None)
        if kv_heads is None or kv_heads % mesh.size() or any(".experts" in name for name, _ in block.named_modules()):
            raise HanlinError(
                f"tensor_parallel={mesh.size()}: this model's blocks can't be divided so "
                f"({kv_heads or 'no'} key/value heads).",
                "attention whose key/value heads divide, and no experts",
                "train.tensor_parallel=1 train.parallel=fsdp",
                "docs/scale.md",
            )
        plan: dict[str, Any] = {}
        for name, module in block.named_modules():
            leaf = name.rpartition(".")[2]
            if isinstance(module, nn.Linear) and leaf in COLUMNS:
                plan[name] = ColwiseParallel()
            elif isinstance(module, nn.Linear) and leaf in ROWS:
                plan[name] = RowwiseParallel()
            elif leaf in HEAD_NORMS and any(True for _ in module.parameters()):
                plan[name] = SequenceParallel(sequence_dim=2, use_local_output=True)
        parallelize_module(block, mesh, plan)
    count_heads(model, 1, mesh.size())


def count_heads(model: nn.Module, before: int, now: int) -> None:
    """Of how many processes' heads each attention says it has one's share."""
    for block in blocks_of(model):
        attention: Any = block.attention
        for name in ("num_heads", "num_kv_heads"):
            setattr(attention, name, getattr(attention, name) * before // now)


def this_device(wanted: str) -> torch.device:
    """auto: this process's GPU where torch sees one."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise HanlinError(
            "device=cuda, but torch sees no GPU.",
            "an NVIDIA GPU and its driver",
            "train.device=auto",
            "docs/training.md",
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
