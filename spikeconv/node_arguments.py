"""What `IFNode` is constructed with, made into what it keeps; and how its repr shows that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch.cuda import is_current_stream_capturing as is_capturing

from spikeconv.changes import version
from spikeconv.ops.call import state_dtype


def summary(value: Tensor) -> str:
    """One number, or shape and range: what a repr has room for."""
    if value.is_meta:
        return f"{list(value.shape)} on meta"
    if value.numel() == 0:
        return str(list(value.shape))
    if value.numel() == 1:
        return f"{value.item():.4g}"
    return f"{list(value.shape)} in [{value.min().item():.4g}, {value.max().item():.4g}]"


def is_finite(value: float) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond a float's range
        return False


def as_buffer(argument: str, value: float | Tensor, wanted: str = "finite") -> Tensor:
    """An own copy of a parameter, cut off from its gradient."""
    if isinstance(value, Tensor):
        whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
        return value.detach().to(torch.get_default_dtype() if whole else value.dtype, copy=True)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"IFNode: {argument} must be a number or a tensor, got {type(value).__name__}"
        )
    if not is_finite(value):
        raise ValueError(f"IFNode: {argument} must be {wanted}, got {value}")
    return torch.tensor(float(value))


def as_threshold(value: float | Tensor) -> Tensor:
    """The thresholds, once they are known to be positive."""
    wanted = "positive and finite everywhere"
    theta = as_buffer("v_threshold", value, wanted)
    if theta.dtype == torch.bool or theta.is_complex():
        raise TypeError(f"IFNode: v_threshold must be real numbers, got {theta.dtype}")
    if not theta.is_meta and not bool(((theta > 0) & torch.isfinite(theta)).all()):
        raise ValueError(f"IFNode: v_threshold must be {wanted}, got {summary(theta)}")
    return theta


def as_finite(argument: str, value: float | Tensor) -> Tensor:
    """The same as `as_buffer`, once a tensor's values are known to be finite, as a number's are.

    A potential that is not a number never fires, which would look like an answer.
    """
    copied = as_buffer(argument, value)
    _check_finite(argument, copied)
    return copied


def _check_finite(argument: str, value: Tensor) -> None:
    if not value.is_meta and not bool(torch.isfinite(value).all()):
        raise ValueError(f"IFNode: {argument} must be finite everywhere, got {summary(value)}")


class StillFinite:
    """Refuses parameters that were finite when a population was made, and were changed since.

    Each version of a parameter is read once for each dtype of the current.
    """

    def __init__(self) -> None:
        self._read: dict[str, object] = {}

    def check(self, x: Tensor, **parameters: Tensor | None) -> None:
        """Raise ValueError unless they are finite in the dtype of x's membrane."""
        if torch.compiler.is_compiling() or not isinstance(x, Tensor):
            return
        for name, value in parameters.items():
            if value is None or not _has_values(value):
                continue
            now = version(value), x.dtype
            if now != self._read.get(name) and not (value.is_cuda and is_capturing()):
                _check_finite(name, value.to(state_dtype(x)))
                self._read[name] = now


def _has_values(value: Tensor) -> bool:
    """Whether there is something to read, and nothing for the operator to refuse."""
    try:
        value.data_ptr()  # of torch.vmap's, fake and sparse tensors there is none
    except RuntimeError:
        return False
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return value.is_floating_point() and not tracing


def as_potential(value: float | Tensor | str, theta: Tensor) -> Tensor:
    """The initial potential; ``"half"`` is half of the thresholds."""
    if isinstance(value, str):
        if value != "half":
            raise ValueError(f"IFNode: v_init must be 'half', a number or a tensor, got {value!r}")
        return theta / 2
    if value is None:  # SpikingJelly's second argument is v_reset
        raise TypeError(
            "IFNode: v_init must be a number or a tensor, got NoneType; v_reset=None goes by name"
        )
    return as_finite("v_init", value)


def as_parameter(name: str, value: Any, theta: Tensor) -> Tensor:
    """What is assigned to a parameter and is no tensor, as torch takes it."""
    if name == "v_threshold":
        made = as_threshold(value)
    elif name == "v_init":
        made = as_potential(value, theta.detach())
    else:
        made = as_finite(name, value)
    return made.to(theta.device)


def as_step_bias(value: Tensor | None) -> Tensor | None:
    """An own copy of the biases of the first steps."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise TypeError(f"IFNode: step_bias must be a tensor or None, got {type(value).__name__}")
    if not value.is_floating_point() or value.layout != torch.strided:
        raise TypeError(
            "IFNode: step_bias must be a dense floating-point tensor, "
            f"got {value.dtype}, {value.layout}"
        )
    if value.dim() == 0 or len(value) == 0:
        raise ValueError(
            f"IFNode: step_bias must be [T, *] with T >= 1, got shape {list(value.shape)}"
        )
    _check_finite("step_bias", value)
    return value.detach().clone()


def as_v_reset(v_reset: float | None, reset: str | None) -> float | None:
    """The potential after a spike, None for soft reset, from either way to say it."""
    if v_reset is not None and (isinstance(v_reset, bool) or not isinstance(v_reset, Real)):
        raise TypeError(f"IFNode: v_reset must be a number or None, got {type(v_reset).__name__}")
    if v_reset is not None and not is_finite(v_reset):
        raise ValueError(f"IFNode: v_reset must be finite, got {v_reset}")
    if reset is None:
        return None if v_reset is None else float(v_reset)
    if reset not in ("soft", "hard"):
        raise ValueError(f"IFNode: reset must be 'soft', 'hard' or None, got {reset!r}")
    if reset == "soft" and v_reset is not None:
        raise ValueError(
            f"IFNode: v_reset must be None with reset='soft', which subtracts theta, got {v_reset}"
        )
    return float(v_reset or 0.0) if reset == "hard" else None


def as_channel_dim(value: int | None) -> int | None:
    """The dimension of one step's x that parameters of one dimension belong to."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"IFNode: channel_dim must be an integer or None, got {type(value).__name__}"
        )
    return int(value)


def along(parameter: Tensor, channel_dim: int | None, dims: int) -> Tensor:
    """A parameter as it broadcasts to one step of so many dimensions.

    Raises:
        ValueError: one step has no dimension `channel_dim`.
    """
    if channel_dim is None or parameter.dim() != 1:
        return parameter
    at = channel_dim + (dims if channel_dim < 0 else 0)
    if not 0 <= at < dims:
        raise ValueError(
            f"IFNode: x must have the channels of channel_dim={channel_dim} among one step's "
            f"dimensions, got {dims} of these"
        )
    return parameter.view(-1, *[1] * (dims - 1 - at))


def in_words(node: Any, arguments: Mapping[str, object]) -> str:
    """The arguments of a population that a reader wants to see.

    Args:
        node: the population.
        arguments: all of them by what goes without saying; ... of those that are said otherwise.
    """
    parts = [f"v_threshold={summary(node.v_threshold)}", f"v_init={summary(node.v_init)}"]
    for name in ("bias", "step_bias"):
        value = getattr(node, name)
        if value is not None:
            parts.append(f"{name}={summary(value)}")
    if node.v_reset is not None:
        parts.append(f"v_reset={node.v_reset:g}")
    parts += [
        f"{name}={getattr(node, name)!r}"
        for name, usual in arguments.items()
        if usual is not ... and getattr(node, name) != usual
    ]
    return ", ".join(parts)
