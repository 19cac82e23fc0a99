"""Forwards that ask of what kind a value is: a stand-in for a tensor is one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, is_tensor

from tests.convert.nets import Net, check, images, refusal
from tests.passes import helpers_of_a_forward
from tests.passes.helpers_of_a_forward import flat


class Asking(Net):
    """A network whose body stands in the file of its class, as a user's does."""

    def forward(self, x: Tensor) -> Any:
        return self.head(F.relu(self.c2(F.relu(self.c1(self.body(self, x))))))


def asserted(s: Net, x: Any) -> Tensor:
    assert isinstance(x, Tensor) and not isinstance(x, list | tuple)
    return x


def raising(s: Net, x: Any) -> Tensor:
    if not torch.is_tensor(x) or not is_tensor(x):
        raise TypeError("x must be a tensor")
    return x


def one_or_several(s: Net, x: Any) -> Tensor:
    if isinstance(x, torch.Tensor):
        x = [x]
    return torch.cat(x, 1)


def size_is_a_number(s: Net, x: Any) -> Tensor:
    return x * 2 if isinstance(x.shape[2], int) else x


@pytest.mark.parametrize("body", (asserted, raising, one_or_several, size_is_a_number))
def test_what_a_value_is_asked_to_be(body: Any) -> None:
    """A stand-in for a tensor is one; it holds for all sizes, and nothing is left behind."""
    snn = check(Asking(body), neurons=2)
    assert snn(images(3, 2, 6, 6)).shape == (3, 3)
    assert "isinstance" not in globals() and is_tensor is torch.is_tensor
    assert torch.is_tensor.__module__ == "torch"


def test_an_assertion_about_a_stand_in() -> None:
    def body(s: Net, x: Any) -> Any:
        if type(x) is not Tensor:
            raise AssertionError
        return s.head(F.relu(s.c1(x)))

    (problem,) = refusal(Net(body))
    assert "(AssertionError)" in problem.reason and "stand-ins for tensors" in problem.reason
    assert problem.line.startswith(__file__)


def test_a_function_of_another_file_asks() -> None:
    def body(s: Net, x: Any) -> Any:
        return s.head(F.relu(s.c1(flat(x).view(-1, 2, 8, 8))))

    check(Net(body), neurons=1)
    assert "len" not in vars(helpers_of_a_forward)
