"""The processes that do one thing together: one alone, or those that torchrun starts."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spikeconv.processes.pulse import Pulse
from spikeconv.processes.store import stores

_CPU = torch.device("cpu")

# In a collective all wait for the slowest. That a process is gone is noticed sooner, by `Pulse`.
_TIMEOUT = timedelta(minutes=60)


@dataclass(frozen=True)
class Processes:
    """This process among those that work together.

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
        """The sum of every process's value, on the value's device; alone, the value."""
        return self._reduced(value, dist.ReduceOp.SUM)

    def largest(self, value: Tensor) -> Tensor:
        """The largest of every process's value, element by element; alone, the value."""
        return self._reduced(value, dist.ReduceOp.MAX)

    def _reduced(self, value: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count == 1:
            return value
        total = value.to(self.device, copy=True)
        dist.all_reduce(total, operation)
        return total.to(value.device)

    def check_same(self, what: str, content: bytes) -> None:
        """Make sure that all processes have the same content.

        Raises:
            ValueError: some have another than the first; names `what` and their ranks. All raise.
        """
        if self.count == 1:
            return
        digest = torch.tensor(list(hashlib.sha256(content).digest()), dtype=torch.uint8)
        digests = [torch.empty_like(digest, device=self.device) for _ in range(self.count)]
        dist.all_gather(digests, digest.to(self.device))
        other = [r for r, theirs in enumerate(digests) if not torch.equal(theirs, digests[0])]
        if other:
            ranks = f"rank{'s' * (len(other) > 1)} {', '.join(map(str, other))}"
            raise ValueError(
                f"{what} must be the same in all {self.count} processes, got another in {ranks} "
                "than in rank 0; start all of them with the same arguments, versions and files, on "
                "machines of one kind"
            )

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


ALONE = Processes()
"""One process that waits for no other."""


@contextmanager
def processes(device: str, advice: str = "Start it again.") -> Iterator[Processes]:
    """Join the processes that torchrun started, by gloo on CPUs and NCCL on GPUs; or be alone.

    Where one of them dies or hangs inside the block, the others end too, and the first that is left
    says which one it was. An error that all have alike is raised in the first only, and the others
    leave by SystemExit; warnings, too, are the first one's only.

    Args:
        device: ``"cpu"`` or ``"cuda"``, one GPU for each process of a machine.
        advice: what to do once a process is lost, for the message.

    Raises:
        ValueError: fewer GPUs than processes.
        ProcessLost: another process is gone.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["WORLD_SIZE"] == "1":
        yield Processes(device=torch.device(device))
        return
    own = _own_device(device)
    group = Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), own)
    store, pulses = stores()
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=store,
        rank=group.rank,
        world_size=group.count,
        timeout=_TIMEOUT,
    )
    pulse = Pulse(pulses, group.rank, group.count, advice)
    try:
        with warnings.catch_warnings():
            if not group.first:
                warnings.simplefilter("ignore")
            yield group
    except BaseException as error:
        # Where one is lost this raises, and the group is left as it is: it cannot come apart.
        pulse.fail(error)
        dist.destroy_process_group()
        raise
    pulse.leave()
    dist.destroy_process_group()


def _own_device(device: str) -> torch.device:
    if device != "cuda":
        return torch.device(device)
    index, here = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if index >= here:
        raise ValueError(
            f"--device cuda: each process of a machine needs a GPU of its own, got {here} GPUs for "
            f"{os.environ['LOCAL_WORLD_SIZE']} processes; give torchrun --nproc-per-node {here}"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
