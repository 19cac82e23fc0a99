"""Argument checks of the operator. The router and the fake kernel call the same function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from spikeconv.ops.call import (
    EMITS,
    FIRES,
    LARGEST_COUNT,
    RESETS,
    RETURN_VS,
    SURROGATES,
    WORD_BITS,
    has_time,
    state_dtype,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class ShapeError(ValueError):
    """A parameter's shape is not one that the population's neurons can have."""


def _wrong(argument: str, wanted: str, given: object) -> str:
    return f"if_multistep: {argument} must be {wanted}, got {given}"


def _check_choice(argument: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        wanted = "one of " + ", ".join(repr(choice) for choice in choices)
        raise ValueError(_wrong(argument, wanted, repr(value)))


def _check_parameter(argument: str, tensor: Tensor, x: Tensor, shape: torch.Size) -> None:
    """A parameter broadcasts to the population by torch's rules and lives where x lives."""
    _check_float(argument, tensor)
    _check_broadcast(argument, tensor, x, shape)


def _check_float(argument: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise TypeError(_wrong(argument, "a floating-point tensor", tensor.dtype))


def _check_place(argument: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.layout != torch.strided:
        raise TypeError(_wrong(argument, "a dense (strided) tensor", tensor.layout))
    if tensor.device != x.device and not (tensor.dim() == 0 and tensor.device.type == "cpu"):
        raise ValueError(_wrong(argument, f"on x's device {x.device}", tensor.device))


def broadcasts(own: torch.Size, shape: torch.Size) -> bool:
    """Whether the one shape broadcasts to the other."""
    if len(own) > len(shape):
        return False
    trailing = shape[len(shape) - len(own) :]
    return all(have == 1 or have == want for have, want in zip(own, trailing, strict=True))


def _check_broadcast(argument: str, tensor: Tensor, x: Tensor, shape: torch.Size) -> None:
    _check_place(argument, tensor, x)
    if not broadcasts(tensor.shape, shape):
        wanted = f"a number or a tensor that broadcasts to the neurons' shape {list(shape)}"
        raise ShapeError(_wrong(argument, wanted, f"shape {list(tensor.shape)}"))


def _check_bias(bias: Tensor, x: Tensor, shape: torch.Size, steps: int) -> None:
    """A bias is a parameter, or has time before the population's dimensions: T steps, or one."""
    if not has_time(bias, shape):
        _check_parameter("bias", bias, x, shape)
        return
    _check_float("bias", bias)
    _check_place("bias", bias, x)
    if bias.shape[0] != 1 and bias.shape[0] != steps:
        wanted = f"of {steps} time-steps, or 1, in dimension 0 (one dimension more than a step's x)"
        raise ValueError(_wrong("bias", wanted, f"shape {list(bias.shape)}"))
    if not broadcasts(bias.shape[1:], shape):
        wanted = f"[T, *] with * broadcasting to the neurons' shape {list(shape)}"
        raise ShapeError(_wrong("bias", wanted, f"shape {list(bias.shape)}"))


def check_if_multistep(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    count_init: Tensor | None,
    T: int | None,
    reset: str,
    v_reset: float,
    signed: bool,
    fires: str,
    emit: str,
    return_v: str | None,
) -> int:
    """Raise TypeError or ValueError for what shows without reading data; return the steps T."""
    if x.dtype not in DTYPES:
        wanted = "a float32, float16, bfloat16 or float64 tensor"
        raise TypeError(_wrong("x", wanted, x.dtype))
    if x.layout != torch.strided:
        raise TypeError(_wrong("x", "a dense (strided) tensor", x.layout))
    if T is None:
        if x.dim() == 0:
            raise ValueError(_wrong("x", "[T, *], or [*] with T=", "a scalar and T=None"))
        steps, shape = x.shape[0], x.shape[1:]
        if steps < 1:
            raise ValueError(_wrong("x", "[T, *] with T >= 1", f"shape {list(x.shape)}"))
    else:
        steps, shape = T, x.shape
        if steps < 1:
            raise ValueError(_wrong("T", "an integer >= 1", T))
    _check_parameter("v_threshold", v_threshold, x, shape)
    _check_parameter("v_init", v_init, x, shape)
    if bias is not None:
        _check_bias(bias, x, shape, steps)
    _check_choice("reset", reset, RESETS)
    _check_choice("fires", fires, FIRES)
    _check_choice("emit", emit, EMITS)
    _check_choice("return_v", return_v, (*RETURN_VS, None))
    dtype = state_dtype(x)
    if not -torch.finfo(dtype).max <= v_reset <= torch.finfo(dtype).max:
        raise ValueError(_wrong("v_reset", f"finite in {dtype}", v_reset))
    if emit == "words" and signed:
        raise ValueError(
            _wrong("emit", "'spikes', 'psp', 'uint8' or 'count' with signed=True", "'words'")
        )
    if emit == "words" and steps > WORD_BITS:
        raise ValueError(
            _wrong("T", f"at most {WORD_BITS} with emit='words' (a bit a step)", steps)
        )
    if emit == "count" and steps > LARGEST_COUNT:
        raise ValueError(
            _wrong("T", f"at most {LARGEST_COUNT} with emit='count' (an int32)", steps)
        )
    if count_init is not None:
        if not signed:
            raise ValueError(_wrong("count_init", "None unless signed=True", "a tensor"))
        if count_init.dtype != torch.int32:
            raise TypeError(_wrong("count_init", "an int32 tensor", count_init.dtype))
        _check_broadcast("count_init", count_init, x, shape)
    return steps


def check_signed(signed: bool, surrogate: object) -> None:
    """Raise ValueError for signed neurons that are given a surrogate, by name or as a function."""
    if signed and surrogate is not None:
        raise ValueError(
            _wrong("surrogate", "None with signed=True, whose spikes have no gradient", surrogate)
        )


def check_surrogate(
    x: Tensor, shape: tuple[int, ...], surrogate: str | None, slope: Tensor | None, signed: bool
) -> None:
    """Raise TypeError or ValueError for a surrogate that a call with x `[T, *]` cannot take.

    `shape` is that of the spikes, and of the slope where the derivative is given.
    """
    _check_choice("surrogate", surrogate, (*SURROGATES, None))
    check_signed(signed, surrogate)
    if (slope is None) == (surrogate == "given"):
        wanted = "a tensor with surrogate='given', else None"
        raise ValueError(_wrong("slope", wanted, "None" if slope is None else "a tensor"))
    if slope is not None:
        check_like_output("slope", slope, x, shape, state_dtype(x))


def check_like_output(
    argument: str, given: Tensor, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Raise TypeError or ValueError unless a tensor can stand beside an output of that shape."""
    if given.dtype != dtype:
        raise TypeError(_wrong(argument, f"a {dtype} tensor", given.dtype))
    if tuple(given.shape) != tuple(shape):
        raise ValueError(_wrong(argument, f"of shape {list(shape)}", f"shape {list(given.shape)}"))
    if given.layout != torch.strided or given.device != x.device:
        where = f"dense (strided), on x's device {x.device}"
        raise ValueError(_wrong(argument, where, f"{given.layout} on {given.device}"))


# To read thresholds on a GPU waits for it, and to read one for each neuron takes as long as a step,
# so each version of such a tensor is read once for each dtype that it is converted to.
_read_versions = WeakTensorKeyDictionary()
_QUICKLY_READ = 1024


def check_threshold_values(v_threshold: Tensor, dtype: torch.dtype) -> None:
    """Raise ValueError unless every threshold is positive and finite in the state dtype."""
    if v_threshold.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    owner, now = v_threshold, None
    quick = not v_threshold.is_cuda and v_threshold.numel() <= _QUICKLY_READ
    if not quick and not v_threshold.is_inference():
        # A view is made anew at every call, and its base is not.
        owner = v_threshold if v_threshold._base is None else v_threshold._base
        place = (v_threshold.storage_offset(), v_threshold.shape, v_threshold.stride())
        now = (v_threshold._version, dtype, place)
        if _read_versions.get(owner) == now:
            return
    theta = v_threshold.to(dtype)
    good = (theta > 0) & torch.isfinite(theta)
    if not bool(good.all()):
        worst = v_threshold[~good][0].item()
        raise ValueError(_wrong("v_threshold", "positive and finite everywhere", worst))
    if now is not None:
        _read_versions[owner] = now
