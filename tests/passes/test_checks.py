"""Forwards that check values: what only raises is left out, what decides more is refused."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

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
    assert x.min().item() > -100
    if x.max().item() > 100:
        raise ValueError(f"got {x.max().item():.2f} in {x.shape[1]:d} channels")


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


def bright(x: Tensor) -> None:
    if x.max() > 100:
        raise ValueError


def caught(s: Net, x: Tensor) -> Tensor:
    try:
        if x.mean() > 100:
            raise ValueError
    except ValueError:
        return -x
    return x


def caught_by_who_calls(s: Net, x: Tensor) -> Tensor:
    try:
        bright(x)
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


def suppressed(s: Net, x: Tensor) -> Tensor:
    y = -x
    with contextlib.suppress(AssertionError):
        assert x.max() < 100
        y = x
    return y


def returned_at_last(s: Net, x: Tensor) -> Tensor:
    y = -x
    try:
        bright(x)
        y = x
    finally:
        return y  # noqa: B012


def kept(s: Net, x: Tensor) -> Tensor:
    assert (positive := bool(x.mean() > 100)) in (True, False)  # noqa: RUF018
    return -x if positive else x


def noted(s: Net, x: Tensor) -> Tensor:
    notes: list[int] = []
    assert x.max() < 100 or notes.append(1) is None
    return -x if notes else x


def yielded(s: Net, x: Tensor) -> Tensor:
    def parts() -> Iterator[Tensor]:
        if x.max() > 100:
            yield -x
            raise ValueError
        yield x

    return next(parts())


def one_that_has_it(s: Net, x: Tensor) -> Tensor:
    class Bright:
        @property
        def dark(self) -> int:
            if x.max() > 100:
                raise AttributeError
            return 1

    return x if hasattr(Bright(), "dark") else -x


def another_error(s: Net, x: Tensor) -> Tensor:
    """With the other answer torch.fx's stand-ins end the trace, and not the forward."""
    if x.max() > 100:
        x = torch.from_numpy(np.sqrt(np.asarray(x)))
    return x


def reported(s: Net, x: Tensor) -> Tensor:
    if x.max() > 100:
        try:
            x = torch.from_numpy(np.sqrt(np.asarray(x)))
        except TypeError as error:
            raise ValueError from error
    return x


def changed(s: Net, x: Tensor) -> Tensor:
    if x.max() > 100:
        x = x / 2
    return x


DECIDE = (
    *(caught, caught_by_who_calls, caught_whatever_it_is, suppressed, returned_at_last, kept),
    *(noted, yielded, one_that_has_it, another_error, reported, changed),
)


@pytest.mark.parametrize("decides", DECIDE, ids=lambda f: f.__name__)
def test_what_decides_more_is_refused(decides: Any) -> None:
    (problem,) = refusal(Net(lambda s, x: s.head(F.relu(s.c1(decides(s, x))))))
    assert "its flow depends on the" in problem.reason
    assert problem.line.startswith(__file__)


def test_more_checks_than_are_tried() -> None:
    def body(s: Net, x: Tensor) -> Any:
        for limit in range(40):
            assert x.max() < 100 + limit
        return s.head(F.relu(s.c1(x)))

    (problem,) = refusal(Net(body))
    assert "it asks for the values of tensors 40 times" in problem.reason


def test_data_that_does_not_pass() -> None:
    """The network's own words are in the message."""

    def body(s: Net, x: Tensor) -> Any:
        assert x.max() < 0.01, "much too bright"
        return s.head(F.relu(s.c1(x)))

    with pytest.raises(ValueError, match="much too bright"):
        converted(Net(body))


def test_a_check_that_noise_does_not_pass() -> None:
    """Images of whole numbers; what is traced with is two of them then."""

    def body(s: Net, x: Tensor) -> Any:
        assert torch.equal(x, x.round()), "whole numbers"
        return s.head(F.relu(s.c1(x)))

    with pytest.warns(UserWarning, match="forward checks values at"):
        snn = converted(Net(body), images(8).round())
    with torch.no_grad():
        assert snn(images(3)).shape == (3, 3)
    with pytest.raises(ValueError, match="whole numbers"):
        converted(Net(body), images(8) + 0.3)


def test_while_another_error_is_handled() -> None:
    """As where a file of the spiking network is missing, and it is converted anew."""

    def body(s: Net, x: Tensor) -> Any:
        asserted(s, x)
        return s.head(F.relu(s.c1(x)))

    try:
        raise FileNotFoundError
    except FileNotFoundError:
        with pytest.warns(UserWarning, match="forward checks values at"):
            converted(Net(body))
