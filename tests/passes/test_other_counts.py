"""Forwards that ask how many images there are: what they do with other numbers of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net, check, images, refusal

DOUBLED = {
    "four or more": (lambda x: x.shape[0] >= 4, "4 images"),
    "more than a hundred": (lambda x: x.size(0) > 100, "101 images"),
    "some number": (lambda x: x.shape[0] == 48, "48 images"),
    "of the unpacked": (lambda x: next(iter(x.size())) // 8 > 0, "8 images"),
    "of all values": (lambda x: x.numel() > 1000, "8 images"),
    "a square": (lambda x: x.shape[0] ** 2 > 50, "8 images"),
    "a half": (lambda x: (x.shape[0] + 1) / 2 > 4, "8 images"),
    "beyond the thousand": (lambda x: x.shape[0] > 4096, "4,097 images"),
    "a single one": (lambda x: x.shape[0] < 2, "a single image"),
}


@pytest.mark.parametrize("name", DOUBLED)
def test_another_result_is_refused(name: str) -> None:
    """The smallest number of images for which it is another is named."""
    asks, says = DOUBLED[name]

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(h * 2 if asks(x) else h)

    (problem,) = refusal(Net(body))
    assert problem.reason.startswith(f"{says} go")
    assert "something else comes out" in problem.reason


@pytest.mark.parametrize("name", DOUBLED)
def test_the_same_result_is_fine(name: str) -> None:
    asks, _ = DOUBLED[name]

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(h.contiguous() if asks(x) else h)

    check(Net(body), neurons=1)


LATER: dict[str, Any] = {
    "a largest": lambda x, h: h * (1 + max(x.shape[0], 8) - 8),
    "a condition behind another": lambda x, h: (
        (h * 2 if x.shape[0] > 8 else h) if x.shape[0] > 4 else h
    ),
    "the first hundred at most": lambda x, h: h[: min(100, x.shape[0])],
}


@pytest.mark.parametrize("name", LATER)
def test_another_result_of_still_more_images_is_refused(name: str) -> None:
    (problem,) = refusal(Net(lambda s, x: s.head(LATER[name](x, F.relu(s.c1(x))))))
    assert "something else comes out" in problem.reason


def test_guards_of_large_images() -> None:
    """A network that takes no more than some batch needs no trial of a larger one."""

    def body(s: Net, x: Tensor) -> Any:
        assert x.shape[0] <= 256, "too many for a GPU"
        return s.head(F.relu(s.c1(x)))

    check(Net(body), images(8, 2, 96, 96), neurons=1, T=64)


def test_so_many_that_nobody_gives_them() -> None:
    """A guard against numbers that do not fit 31 bits is no other way."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(h * 2 if x.numel() > 2**31 - 1 else h)

    check(Net(body), neurons=1)


def test_a_network_that_takes_only_so_many() -> None:
    """Where it gives nothing, there is nothing to keep."""

    def body(s: Net, x: Tensor) -> Any:
        if x.shape[0] > 16:
            raise ValueError("at most 16")
        return s.head(F.relu(s.c1(x)))

    snn = check(Net(body), neurons=1)
    assert snn(images(17)).shape == (17, 3)


CUT = {
    "micro-batches": lambda s, x: torch.cat([s.head(F.relu(s.c1(p))) for p in x.split(8)]),
    "micro-batches of spikes": lambda s, x: torch.cat(
        [s.head(p) for p in torch.split(F.relu(s.c1(x)), 16)]
    ),
    "the first hundred": lambda s, x: s.head(F.relu(s.c1(x[:100]))),
    "the last hundred": lambda s, x: s.head(F.relu(s.c1(x[-100:]))),
    "the first hundred spikes": lambda s, x: s.head(F.relu(s.c1(x))[:100, :]),
}


@pytest.mark.parametrize("name", CUT)
def test_a_batch_that_is_cut_is_refused(name: str) -> None:
    """Two images alone do not show it."""
    (problem,) = refusal(Net(CUT[name]))
    assert "fixes the batch size" in problem.reason
    assert problem.line.startswith(__file__)


COUNTED = {
    "of images": lambda x, h: h * (1 + (x.shape[0] >= 4)),
    "of spikes": lambda x, h: h * (1 + h.size(0) // 64),
    "of values": lambda x, h: h + 0.1 * (h.numel() > 4096),
}


@pytest.mark.parametrize("name", COUNTED)
def test_arithmetic_with_the_number_of_images_is_refused(name: str) -> None:
    """Time-steps are run as images, so there may be more, and a large batch in parts, so fewer."""
    (problem,) = refusal(Net(lambda s, x: s.head(COUNTED[name](x, F.relu(s.c1(x))))))
    assert "fixes the batch size" in problem.reason


UNCOUNTED: dict[str, Any] = {
    "a mean by numel": lambda h: h * 9 / (h.numel() // (h.shape[0] * h.shape[1])),
    "channels": lambda h: h * (h.shape[0] * h.shape[1] // h.shape[0]),
    "a quotient": lambda h: h * 9 / (h.numel() / h.size(0)),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_arithmetic_from_which_the_number_of_images_cancels(name: str) -> None:
    check(Net(lambda s, x: s.head(UNCOUNTED[name](F.relu(s.c1(x))))), neurons=1)


@pytest.mark.parametrize("name", ("split", "getitem", "narrow"))
def test_a_layer_that_is_called_like_a_cut(name: str) -> None:
    layers = OrderedDict({name: nn.Linear(4, 8), "relu": nn.ReLU(), "fc": nn.Linear(8, 3)})
    check(nn.Sequential(layers), images(32, 4), neurons=1)


def test_a_split_along_a_dimension_that_is_computed() -> None:
    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(torch.cat(h.split(4, dim=h.dim() - 1)[::-1], -1))

    check(Net(body), neurons=1)


def test_arithmetic_with_other_sizes() -> None:
    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(h.view(h.shape[0], *h.shape[1:]) * h.shape[1] / (h.shape[2] * h.size(-1)))

    check(Net(body), neurons=1)
