"""How much of a call runs at once: by hand, for a CPU and for GPUs that are not here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from spikeconv import convert
from spikeconv.calibrate.inputs import batch_of
from spikeconv.network import limits

# ResNet-18 of 224 x 224 pixels: its widest layer has 64 channels of 112 x 112.
WIDEST = 64 * 112 * 112


def on_gpu(monkeypatch: pytest.MonkeyPatch, gigabytes: int) -> dict[str, Any]:
    """A program and 64 images on a GPU with so much memory."""
    where = SimpleNamespace(device=torch.device("cuda"))
    card = SimpleNamespace(total_memory=gigabytes * 2**30)
    monkeypatch.setattr(limits, "tensors_of", lambda batch: (where,))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    return {"program": SimpleNamespace(widest_for=lambda batch: WIDEST), "batch": range(64)}


@pytest.mark.parametrize(("gigabytes", "steps"), [(80, 26), (16, 5), (2, 1)])
def test_steps_of_a_gpu_by_its_memory(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int, steps: int
) -> None:
    # 64 bytes of the card for each of 64 * WIDEST values, and never fewer values than on a CPU.
    given = on_gpu(monkeypatch, gigabytes)
    assert limits.steps_at_once(**given, in_integers=False) == steps


@pytest.mark.parametrize(("gigabytes", "steps"), [(8, 20), (80, 32)])
def test_of_bits_eight_times_as_many_up_to_a_word(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int, steps: int
) -> None:
    given = on_gpu(monkeypatch, gigabytes)
    assert limits.steps_at_once(**given, in_integers=True, as_bits=True) == steps


def test_only_counts_of_whole_networks_are_kept_as_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64, 3)),
    )
    x = torch.rand(8, 2, 4, 4)
    # The widest layer has 64 values of 8 images.
    monkeypatch.setattr(limits, "_VALUES_AT_ONCE", 3 * 64 * 8)
    snn = convert(net, x, T=40, method="opi", progress=False)
    fused, batch = snn.fuse("int8"), batch_of((x,))
    definition = snn.fuse("int8", backend="reference")
    assert snn.steps_at_once(batch, 40, counts=True) == 3
    assert fused.steps_at_once(batch, 40, counts=True) == 24
    assert fused.steps_at_once(batch, 40) == 3
    assert definition.steps_at_once(batch, 40, counts=True) == 3
    with fused.monitor():  # which reads all spikes as numbers
        assert fused.steps_at_once(batch, 40, counts=True) == 3
    assert torch.equal(fused(x), definition(x))
