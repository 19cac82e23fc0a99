"""IFNode's arguments: every way to say them, how they are shown, and what is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode
from spikeconv.surrogate import ATan
from tests.helpers import assert_same
from tests.ops.cases import thresholds
from tests.test_membrane import X, whole


def test_half_of_the_threshold() -> None:
    theta = thresholds(5, 1)
    assert_same(IFNode(theta, "half").v_init, theta / 2)
    assert IFNode(0.3, "half", step_mode="s").v == IFNode(0.3).v_threshold.item() / 2
    with pytest.raises(ValueError, match="IFNode: v_init must be 'half', a number or a tensor"):
        IFNode(1.0, "quarter")


def test_whole_numbers_are_numbers() -> None:
    node = IFNode(1, 0, 0, v_reset=0)
    assert_same(node(X), IFNode(1.0, 0.0, 0.0, v_reset=0.0)(X))
    assert_same(IFNode(torch.tensor([1, 2, 3])).v_threshold, torch.tensor([1.0, 2.0, 3.0]))
    for wrong in (True, "0", [0.0]):
        with pytest.raises(TypeError, match="IFNode: v_reset must be a number or None"):
            IFNode(v_reset=wrong)  # type: ignore[arg-type]


def test_a_reset_said_in_two_ways() -> None:
    assert IFNode(reset="hard").v_reset == 0.0
    assert IFNode(reset="hard", v_reset=-0.5).v_reset == -0.5
    assert IFNode(reset="soft").v_reset is None
    with pytest.raises(ValueError, match="IFNode: reset must be 'soft', 'hard' or None"):
        IFNode(reset="zero")


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize(
    ("channel_dim", "shape"), [(1, (5, 1)), (-2, (5, 1)), (2, (3,)), (-1, (3,))]
)
def test_thresholds_of_one_dimension_lie_along_the_channels(
    channel_dim: int, shape: tuple[int, ...], step_mode: str
) -> None:
    theta = thresholds(*shape)
    node = IFNode(
        theta.flatten(), "half", channel_dim=channel_dim, step_mode=step_mode, keep_state=True
    )
    wanted = whole(IFNode(theta, "half"))
    got = node(X) if step_mode == "m" else torch.stack([node(x) for x in X])
    assert_same(got, wanted[0])
    assert_same(node.v, wanted[1][-1])
    assert "channel_dim" in repr(node)


def test_channels_that_are_not_there() -> None:
    node = IFNode(thresholds(5), channel_dim=3)
    with pytest.raises(ValueError, match="channel_dim=3 among one step's dimensions, got 3"):
        node(X)
    with pytest.raises(TypeError, match="channel_dim must be an integer or None"):
        IFNode(channel_dim=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step_bias must be None with channel_dim"):
        IFNode(thresholds(5), channel_dim=0, step_bias=torch.ones(2, 5))


def test_wrong_modes_and_flags() -> None:
    with pytest.raises(ValueError, match="step_mode must be 's' or 'm', got 'x'"):
        IFNode(step_mode="x")
    node = IFNode(step_mode="s")
    with pytest.raises(ValueError, match="step_mode must be 's' or 'm', got None"):
        node.step_mode = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match="T must be None in step mode 's'"):
        node(X[0], T=3)
    for flag in ("store_v_seq", "keep_state", "detach_reset"):
        with pytest.raises(TypeError, match=f"{flag} must be True or False, got 1"):
            IFNode(**{flag: 1})
    for step_mode in ("s", "m"):
        with pytest.raises(TypeError, match="if_multistep: x must be a tensor, got list"):
            IFNode(step_mode=step_mode, keep_state=True)([1.0])


def test_a_bad_threshold_that_came_later_is_an_error_on_the_step() -> None:
    node = IFNode(thresholds(3), step_mode="s")
    x = torch.ones(2, 3)
    node(x)
    node.v_threshold[1] = -1.0
    with pytest.raises(ValueError, match=r"v_threshold must be positive.*got -1\.0"):
        node(x)
    node.load_state_dict({"v_threshold": torch.ones(3), "v_init": torch.tensor(0.0)})
    node(x)
    node.v_threshold = torch.zeros(3)
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        node(x)


def test_a_threshold_may_be_assigned_as_a_number() -> None:
    node = IFNode(1.0, step_mode="s")
    node.v_threshold = 2  # type: ignore[assignment]
    assert_same(node.v_threshold, torch.tensor(2.0))
    assert "v_threshold" in node.state_dict()
    assert node(torch.tensor([1.5, 2.0])).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="IFNode: v_threshold must be positive"):
        node.v_threshold = 0.0  # type: ignore[assignment]


@pytest.mark.parametrize("function", [lambda u: u, torch.sigmoid, 1.0, "atan"])
def test_a_surrogate_that_may_mean_anything_is_an_error(function: Any) -> None:
    with pytest.raises(TypeError, match="IFNode: surrogate_function must be one of"):
        IFNode(surrogate_function=function)


def test_the_backends_of_another_library_are_the_automatic_choice() -> None:
    for name in ("torch", "cupy"):
        node = IFNode(backend=name)
        assert node.backend is None
        assert_same(node(X), IFNode()(X))
        node.backend = name
        assert node.backend is None
    with pytest.raises(ValueError, match="backend must be one of"):
        IFNode(backend="numpy")


def test_repr_says_how_it_is_called() -> None:
    node = IFNode(1, "half", v_reset=0, step_mode="s", store_v_seq=True, surrogate_function=ATan())
    assert repr(node) == (
        "IFNode(v_threshold=1, v_init=0.5, v_reset=0, surrogate_function=ATan(alpha=2.0), "
        "step_mode='s', store_v_seq=True)"
    )
    assert repr(node.replaced(fires="gt", store_v_seq=False)) == (
        "IFNode(v_threshold=1, v_init=0.5, v_reset=0, surrogate_function=ATan(alpha=2.0), "
        "fires='gt', step_mode='s')"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_would_never_or_always_fire_are_refused(value: float) -> None:
    tensor = torch.tensor([0.5, value])
    for argument in ("v_init", "bias"):
        for given in (value, tensor, nn.Parameter(tensor)):
            with pytest.raises(ValueError, match=f"IFNode: {argument} must be finite"):
                IFNode(v_threshold=1.0, **{argument: given})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="IFNode: step_bias must be finite everywhere"):
        IFNode(v_threshold=1.0, step_bias=tensor)


def changed_by(way: str, node: IFNode, name: str, value: float) -> None:
    """Give a parameter a value after the node was made."""
    old = getattr(node, name)
    if way == "assigned":
        setattr(node, name, torch.full_like(old, value))
    elif way == "written":
        with torch.no_grad():
            old.flatten()[-1:].fill_(value)
    else:
        node.load_state_dict({**node.state_dict(), name: torch.full_like(old, value)})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("way", ["assigned", "written", "loaded"])
@pytest.mark.parametrize("name", ["v_init", "bias", "step_bias"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_values_that_came_later_are_refused_on_the_call(
    name: str, way: str, value: float, shape: tuple[int, ...]
) -> None:
    full = torch.full(shape, 0.5)
    node = IFNode(1.0, full, full, step_bias=torch.full((len(X), *shape), 0.5))
    wanted = node(X)
    changed_by(way, node, name, value)
    for _ in range(2):  # not only at the first call after the change
        with pytest.raises(ValueError, match=f"IFNode: {name} must be finite everywhere, got"):
            node(X)
    changed_by("loaded", node, name, 0.5)
    assert_same(node(X), wanted)


@pytest.mark.parametrize("name", ["v_init", "bias"])
def test_a_step_refuses_them_where_it_uses_them(name: str) -> None:
    node = IFNode(1.0, torch.full((3,), 0.5), torch.full((3,), 0.5), step_mode="s")
    node(X[0])
    changed_by("written", node, name, math.nan)
    if name == "v_init":  # of which only the first step begins
        node(X[1])
        node.reset()
    with pytest.raises(ValueError, match=f"IFNode: {name} must be finite everywhere, got"):
        node(X[2])


def test_what_overflows_in_16_bits_is_refused_on_the_call() -> None:
    with pytest.raises(ValueError, match="IFNode: v_init must be finite everywhere, got inf"):
        IFNode(1.0, 1e6).half()(X.half())


def test_numbers_may_be_assigned() -> None:
    node = IFNode(1.0)
    node.v_threshold, node.v_init, node.bias = 2.0, 0.25, 0.125  # type: ignore[assignment]
    assert_same(node(X), IFNode(2.0, 0.25, 0.125)(X))
    node.v_init, node.bias = "half", None  # type: ignore[assignment]
    assert_same(node(X), IFNode(2.0, "half")(X))
    assert node.double().v_init.dtype == torch.float64
    for name, value, error in (
        ("v_init", math.nan, ValueError),
        ("bias", math.inf, ValueError),
        ("v_init", None, TypeError),
        ("bias", "half", TypeError),
    ):
        with pytest.raises(error, match=f"IFNode: {name} must be "):
            setattr(node, name, value)


def test_parameters_that_stand_for_values_are_not_read() -> None:
    """As torch.vmap's: a network's initial potentials, a run for each."""
    node, potentials = IFNode(torch.ones(3)), torch.rand(4, 3)

    def run(v_init: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(node, {"v_init": v_init}, (X,))
        return found

    wanted = torch.stack([IFNode(1.0, v_init)(X) for v_init in potentials])
    assert_same(torch.vmap(run)(potentials), wanted)


@pytest.mark.parametrize("argument", ["v_threshold", "v_init", "v_reset", "bias"])
def test_an_integer_that_no_float_can_hold_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"IFNode: {argument} must be .*finite"):
        IFNode(**{argument: 10**400})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("argument", ["v_threshold", "v_init", "v_reset", "bias"])
def test_numbers_of_numpy_are_numbers(argument: str, kind: Any) -> None:
    assert_same(IFNode(**{argument: kind(0.5)})(X), IFNode(**{argument: 0.5})(X))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"IFNode: {argument} must be .*finite"):
        IFNode(**{argument: kind("inf")})  # type: ignore[arg-type]


def test_a_reset_by_subtraction_has_no_potential_to_reset_to() -> None:
    with pytest.raises(ValueError, match=r"v_reset must be None with reset='soft', .* got 0.5"):
        IFNode(reset="soft", v_reset=0.5)
    assert IFNode(reset="hard", v_reset=0.5).v_reset == 0.5
