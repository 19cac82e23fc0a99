"""What the tests of the neuron share: an oracle, a comparison of bits, the backends that run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeconv import backends
from spikeconv.ops.backends import resolve

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def runnable(device: str = "cpu") -> list[str]:
    """The backends that can run on tensors of such a device, here and now."""
    if device == "cuda" and not torch.cuda.is_available():
        return []
    x = torch.empty(0, device=device)
    names = []
    for name in backends():
        try:
            resolve(name, x)
        except ValueError:
            continue
        names.append(name)
    return names


def assert_same(actual: Tensor | None, expected: Tensor | None, what: str = "") -> None:
    """Equal dtype, shape and bits; one NaN is as good as another. None equals None."""
    if expected is None or actual is None:
        assert actual is expected, f"{what}: got {actual}, wanted {expected}"
        return
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype}, wanted {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: {actual.shape}, wanted {expected.shape}"
    actual, expected = actual.cpu().contiguous(), expected.cpu().contiguous()
    integers = _INTEGERS[expected.element_size()]
    same = actual.view(integers) == expected.view(integers)
    if expected.is_floating_point():
        same |= actual.isnan() & expected.isnan()
    wrong = (~same).nonzero()
    assert len(wrong) == 0, (
        f"{what}: {len(wrong)} of {same.numel()} values differ, the first at {wrong[0].tolist()}: "
        f"{actual[tuple(wrong[0])].item()}, wanted {expected[tuple(wrong[0])].item()}"
    )


def _neuron(
    currents: Any,
    theta: Any,
    v: Any,
    biases: Any,
    net: int,
    hard: bool,
    v_reset: Any,
    signed: bool,
    fires: str,
) -> Iterator[tuple[int, Any]]:
    """One neuron's life, a scalar at a time: (spike, potential after it) of each step."""
    for t, current in enumerate(currents):
        v = v + current
        if biases is not None:
            v = v + biases[t]
        spike = 0
        if v >= theta if fires == "ge" else v > theta:
            spike = 1
        elif signed and v < 0 and net > 0:
            spike = -1
        net += spike
        if hard and spike:
            v = v_reset
        elif spike == 1:
            v = v - theta
        elif spike == -1:
            v = v + theta
        yield spike, v


def oracle(
    x: Tensor,
    v_threshold: float | Tensor = 1.0,
    v_init: float | Tensor = 0.0,
    bias: float | Tensor | None = None,
    *,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    signed: bool = False,
    fires: str = "ge",
    count_init: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Spikes int8 `[T, *]` and potentials `[T, *]` after each step, by numpy's scalars."""
    kind = np.float64 if x.dtype == torch.float64 else np.float32
    currents = x.detach().cpu().to(torch.float64).numpy().astype(kind)
    if T is not None:
        currents = np.broadcast_to(currents, (T, *currents.shape))
    shape = currents.shape[1:]

    def per_neuron(value: float | Tensor, dtype: Any = kind) -> Any:
        # Through float64: numpy knows no bfloat16.
        wide = torch.as_tensor(value, dtype=torch.float64).detach().cpu().numpy()
        return np.broadcast_to(wide.astype(dtype), shape)

    theta, potential = per_neuron(v_threshold), per_neuron(v_init)
    biases = None  # [T, *], also where the bias has no time
    if bias is not None:
        timed = isinstance(bias, Tensor) and bias.dim() == currents.ndim
        rows = bias if timed else torch.as_tensor(bias).unsqueeze(0)
        biases = np.broadcast_to(np.stack([per_neuron(row) for row in rows]), currents.shape)
    net = per_neuron(0 if count_init is None else count_init, np.int64)
    spikes = np.zeros(currents.shape, np.int8)
    trace = np.zeros(currents.shape, kind)
    with np.errstate(over="ignore", invalid="ignore"):
        for n in np.ndindex(shape):
            life = _neuron(
                currents[(slice(None), *n)],
                theta[n],
                potential[n],
                None if biases is None else biases[(slice(None), *n)],
                int(net[n]),
                reset == "hard",
                kind(v_reset),
                signed,
                fires,
            )
            for t, (spike, v) in enumerate(life):
                spikes[(t, *n)] = spike
                trace[(t, *n)] = v
    return torch.from_numpy(spikes), torch.from_numpy(trace)


def emission(
    spikes: Tensor, emit: str, dtype: torch.dtype, v_threshold: float | Tensor, signed: bool
) -> Tensor:
    """What spikes int8 `[T, *]` look like in each form of output; dtype is x's."""
    if emit == "spikes":
        return spikes.to(dtype)
    if emit == "psp":
        state = torch.float64 if dtype == torch.float64 else torch.float32
        amplitude = torch.as_tensor(v_threshold).cpu().to(state).to(dtype)
        silent = torch.zeros((), dtype=dtype)  # +0, also where the amplitude is infinite
        return torch.where(spikes == 0, silent, spikes.to(dtype) * amplitude)
    if emit == "uint8":
        return spikes if signed else spikes.to(torch.uint8)
    if emit == "count":
        return spikes.sum(0, dtype=torch.int32)
    words = np.zeros(spikes.shape[1:], np.uint32)
    for t, row in enumerate(spikes.numpy()):
        words |= row.astype(np.uint32) << np.uint32(t)
    return torch.from_numpy(words.view(np.int32))


def expected(
    x: Tensor, *, emit: str = "spikes", return_v: str | None = "last", **arguments: Any
) -> tuple[Tensor, Tensor | None]:
    """What `if_multistep(x, **arguments)` has to return, by the oracle."""
    spikes, trace = oracle(x, **arguments)
    theta = arguments.get("v_threshold", 1.0)
    emitted = emission(spikes, emit, x.dtype, theta, arguments.get("signed", False))
    return emitted, {"all": trace, "last": trace[-1], None: None}[return_v]
