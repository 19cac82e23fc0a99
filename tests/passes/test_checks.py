"""Forwards that check values: what only raises is left out, what decides more is refused."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net, check, converted, images, refusal


def asserted(s: Net, x: Tensor) -> None:
    assert not torch.isnan(x).any(), "not a number"


def raised(s: Net, x: Tensor) -> None:
    if x.isnan().any() or x.isinf().any():
        said = f"got {x.max()}"
        raise ValueError(said)


def raised_with_something_else(s: Net, x: Tensor) -> None:
    if not x.isfinite().all():
        raise ValueError
    else:
        x = x * 2


def a_number(s: Net, x: Tensor) -> None:
    assert x.min().item() > -100 and float(x.max()) < 100


def over_two_lines(s: Net, x: Tensor) -> None:
    assert (
        x.dim() == 4
        and x.abs().max() < 100
    ), f"too large: {x.abs().max()}"  # fmt: skip


def within_a_condition(s: Net, x: Tensor) -> None:
    if s.c1.bias is not None: assert x.abs().amax() < 100  # noqa: E701  # fmt: skip


def several_at_once(s: Net, x: Tensor) -> None:
    assert all(part.isfinite().all() for part in (x, x * 2))


def of_activations(s: Net, x: Tensor) -> None:
    h = F.relu(s.c1(x))
    if (h < 0).any():
        raise RuntimeError


def a_function_of_torch(s: Net, x: Tensor) -> None:
    torch._assert((x < 100).all(), "too large")


CHECKS = (
    *(asserted, raised, raised_with_something_else, a_number, over_two_lines),
    *(within_a_condition, several_at_once, of_activations, a_function_of_torch),
)


@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: checks.__name__)
def test_a_check_is_left_out(checks: Any) -> None:
    """With a warning that names its line; the network is the one without it."""

    def body(s: Net, x: Tensor) -> Any:
        checks(s, x)
        return s.head(F.relu(s.c2(F.relu(s.c1(x)))))

    first = checks.__code__.co_firstlineno
    with pytest.warns(UserWarning, match="forward checks values at") as warned:
        snn = check(Net(body), neurons=2)
    (said,) = (str(warning.message) for warning in warned)
    lines = re.findall(rf"{re.escape(__file__)}:(\d+)", said)
    assert lines and len(lines) == len(set(lines))
    assert all(first < int(line) <= first + 5 for line in lines)
    assert warned[0].filename.endswith("nets.py")  # who called convert
    with torch.no_grad():
        assert snn(images(5, 2, 6, 10)).shape == (5, 3)


def test_a_check_of_shapes_is_made() -> None:
    def body(s: Net, x: Tensor) -> Any:
        torch._assert(x.shape[2] % 4 == 0, "rows in fours")
        return s.head(F.relu(s.c1(x)))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snn = check(Net(body), neurons=1)
    with pytest.raises(AssertionError, match="rows in fours"):
        snn(images(2, 2, 6, 8))


def caught(s: Net, x: Tensor) -> Tensor:
    try:
        if x.mean() > 0:
            raise ValueError
    except ValueError:
        return -x
    return x


def caught_whatever_it_is(s: Net, x: Tensor) -> Tensor:
    try:
        for part in x:
            x = x + part.mean()
    except Exception:
        return -x
    return x


def kept(s: Net, x: Tensor) -> Tensor:
    assert (positive := bool(x.mean() > 0)) in (True, False)  # noqa: RUF018
    return x if positive else -x


def returned(s: Net, x: Tensor) -> Tensor:
    if x.mean() > 0:
        for _ in range(2):
            return -x
        raise ValueError
    return x


def changed(s: Net, x: Tensor) -> Tensor:
    if x.max() > 1:
        x = x / 2
    return x


@pytest.mark.parametrize(
    "decides", (caught, caught_whatever_it_is, kept, returned, changed), ids=lambda f: f.__name__
)
def test_what_decides_more_is_refused(decides: Any) -> None:
    (problem,) = refusal(Net(lambda s, x: s.head(F.relu(s.c1(decides(s, x))))))
    assert "its flow depends on the" in problem.reason
    assert problem.line.startswith(__file__)


def test_without_source_nothing_is_known_to_be_a_check() -> None:
    made: dict[str, Any] = {"nn": nn, "torch": torch}
    source = """
class Checking(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
    def forward(self, x):
        assert x.max() < 100
        return torch.relu(self.conv(x))
"""
    exec(compile(source, "<made>", "exec"), made)
    (problem,) = refusal(made["Checking"]())
    assert "its flow depends on the values of tensors" in problem.reason


def test_data_that_does_not_pass() -> None:
    """The network's own words are in the message."""

    def body(s: Net, x: Tensor) -> Any:
        assert x.max() < 0.01, "much too bright"
        return s.head(F.relu(s.c1(x)))

    with pytest.raises(ValueError, match="much too bright"):
        converted(Net(body))
