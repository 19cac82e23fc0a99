"""Forwards that go by sizes, for images of other sizes by which they go the same way."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import spikeconv
from tests.convert.nets import Net, check, images


def spiking_head(s: Net, h: Tensor) -> Any:
    return s.head(F.relu(s.c2(h)))


def in_fours(s: Net, x: Tensor) -> Any:
    if x.shape[2] % 4 or x.shape[3] % 4:
        raise ValueError("sizes must be multiples of 4")
    return spiking_head(s, F.relu(s.c1(x)))


def until_it_is_no_larger(s: Net, x: Tensor) -> Any:
    h, size = F.relu(s.c1(x)), x.size(2)
    while size > 8:
        h, size = F.avg_pool2d(h, 2), size // 2
    assert x.shape[3] > 2
    return spiking_head(s, h)


def parts_of_channels(s: Net, x: Tensor) -> Any:
    halves = [half / 2 for half in F.relu(s.c1(x)).split(2, 1)]
    return spiking_head(s, torch.cat(halves, 1) + torch.cat(F.relu(s.c1(x)).split((1, 3), 1), 1))


@pytest.mark.parametrize("body", [in_fours, until_it_is_no_larger, parts_of_channels])
def test_for_images_by_whose_size_it_goes_the_same_way(body: Any, tmp_path: Path) -> None:
    """What sizes decided is asked again: where it is as it was, the network is the same."""
    net = Net(body)
    snn = check(net, images(32), neurons=3 if body is parts_of_channels else 2)
    snn.save(tmp_path / "snn.safetensors")
    again = spikeconv.load(tmp_path / "snn.safetensors")
    for x in (images(2, 2, 8, 12), images(2, 2, 4, 4)):
        with torch.no_grad():
            torch.testing.assert_close(snn.analog(x), net(x))
            assert torch.equal(again(x), snn(x))
            assert snn.fuse()(x).shape == (2, 3)


@pytest.mark.parametrize("of", [lambda x, h: x[0].shape[1], lambda x, h: h.shape[2]])
def test_sizes_of_what_is_no_input_hold_for_themselves(of: Any) -> None:
    """An image alone is no call that a spiking network could make, nor need spikes be a tensor."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return spiking_head(s, h * 2 if of(x, h) > 4 else h)

    snn = check(Net(body), images(32), neurons=2)
    assert not any(step.target in (getattr, operator.getitem) for step in snn.program.steps)
    with pytest.raises(ValueError, match=r"x must be of shape \[B, 2, 8, 8\], got \[2, 2, 12, 8\]"):
        snn(images(2, 2, 12, 8))
