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
    assert limits.steps_at_once(**given) == steps


@pytest.mark.parametrize(("gigabytes", "steps"), [(8, 20), (80, 32)])
def test_of_bits_eight_times_as_many_up_to_a_word(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int, steps: int
) -> None:
    given = on_gpu(monkeypatch, gigabytes)
    assert limits.steps_at_once(**given, most=limits.INTEGER_STEPS, as_bits=True) == steps


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


def small(*middle: nn.Module) -> nn.Sequential:
    """One population of 3 channels that a head reads, behind one of 4 channels of 8 x 8."""
    first = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
    last = nn.Conv2d(4, 3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2)
    return nn.Sequential(*first, *middle, *last)


@pytest.mark.filterwarnings("ignore:fuse. no layer of this network")
def test_steps_of_fused_networks() -> None:
    """32 where all is in integers, on a CPU any number where some is, and without any as before."""
    x = torch.rand(8, 2, 8, 8)
    batch = batch_of((x,))

    def steps(net: nn.Module, **options: str) -> int:
        snn = convert(net, x, T=40, method="opi", progress=False)
        return snn.fuse(**options).steps_at_once(batch, 1000)

    half = small(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Upsample(scale_factor=1.0))
    assert steps(small()) == 32
    assert steps(half) == steps(half, backend="cpp") > 1000
    assert steps(half, backend="reference") == 32
    none = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    assert steps(none) > 1000


def test_images_at_once_where_only_what_is_read_out_is_not_in_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.rand(8, 2, 8, 8)
    batch = batch_of((x,))
    fused = convert(small(), x, T=40, method="opi", progress=False).fuse()
    monkeypatch.setattr(limits, "_VALUES_IN_CACHE", 256 * 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert fused.images_at_once(batch, 40) == 10  # of 4 x 8 x 8 values
    assert fused.images_at_once(batch, 40, trains=True) == 10  # 40 times 3 values are fewer
    assert fused.images_at_once(batch, 400, trains=True) == 2
    with fused.monitor():
        assert fused.images_at_once(batch, 5) == 2
