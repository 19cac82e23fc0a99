"""The processes that train one network together: one alone, or those that torchrun starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Args:
        rank: its number, 0 for the one that writes and prints.
        count: how many there are.
        device: what it computes on.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """This process's part of int64 indices ``[n]``; the parts are disjoint and give all."""
        return indices.tensor_split(self.count)[self.rank]

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every process's value; alone, the value."""
        if self.count == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over all processes."""
        if self.count == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers, which each has counted on its own images."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, by gloo on CPUs and NCCL on GPUs; or be alone.

    Args:
        device: ``"cpu"`` or ``"cuda"``, one GPU for each process of a machine.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Processes(device=torch.device(device))
        return
    own = torch.device(device)
    if device == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), own)
    finally:
        dist.destroy_process_group()
