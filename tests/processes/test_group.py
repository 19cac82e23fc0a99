"""One process among several: its share, and what it does alone."""

from __future__ import annotations

import pytest
import torch

from spikeconv.processes import ALONE, Processes, processes


def test_shares_are_disjoint_and_give_all() -> None:
    indices = torch.arange(11) * 3
    shares = [Processes(rank, 4).share(indices) for rank in range(4)]
    assert torch.equal(torch.cat(shares), indices)


def test_alone_nothing_is_waited_for() -> None:
    value = torch.tensor([1, 2])
    assert ALONE.first and ALONE.sum(value) is value and ALONE.largest(value) is value
    ALONE.check_same("nothing", b"")


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with processes("cpu") as group:
        assert (group.rank, group.count, group.device) == (0, 1, torch.device("cpu"))


def test_each_process_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    names = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in {**names, "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    wanted = pytest.raises(ValueError, match="got 1 GPUs for 2 processes; give torchrun")
    with wanted, processes("cuda"):
        pass
