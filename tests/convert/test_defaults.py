"""Torch's default dtype and device are for what users make, and change nothing of a network."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikeconv

METHODS: dict[str, dict[str, Any]] = {
    "best": {},
    "mse": {"threshold": "mse"},
    "balance": {"threshold": "balance"},
    "percentile": {"threshold": "percentile"},
    "gaussian": {"v_init": "gaussian"},
    "corrections": {"corrections": ("weights", "step-bias", "search")},
}


def everything(method: dict[str, Any], ann: nn.Module, images: Tensor) -> list[Tensor]:
    """What a network holds and answers; no tensor is made here."""
    snn = spikeconv.convert(ann, images, T=4, progress=False, **method)
    x = images[:4]
    rows = snn.report(x).rows
    assert all(0 <= row.firing_rate <= 1 for row in rows)
    stream = snn.stream()
    return [
        *snn.state_dict().values(),
        snn(x),
        snn(x, readout="all"),
        *snn.exit_early(x, 0.3),
        stream.step(x),
        snn.fuse("int16")(x),
        spikeconv.if_multistep(images, 1.0, 0.3, 0.1)[0],
    ]


def case() -> tuple[nn.Module, Tensor]:
    """In float32 on the CPU, whatever the defaults are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}
        ann = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, **kind),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, **kind),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4, **kind),
        )
        return ann, torch.rand(300, 3, 8, 8, **kind)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_default_dtype_changes_nothing(method: dict[str, Any]) -> None:
    ann, images = case()
    wanted = everything(method, ann, images)
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            found = everything(method, ann, images)
        finally:
            torch.set_default_dtype(torch.float32)
        assert [one.dtype for one in found] == [one.dtype for one in wanted]
        assert all(map(torch.equal, found, wanted))


def test_the_default_device_changes_nothing() -> None:
    """In a process of its own, because what is made on import counts as well."""
    code = """
import torch
torch.set_default_device("meta")
from tests.convert.test_defaults import METHODS, case, everything
for name, method in METHODS.items():
    found = everything(method, *case())
    torch.set_default_device("cpu")
    wanted = everything(method, *case())
    torch.set_default_device("meta")
    assert all(map(torch.equal, found, wanted)), name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
