"""One call of the kernel against an obvious loop: what every test of tests/kernels compares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder

from spikeconv.kernels.if_multistep import if_multistep_fwd

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"

# Every output lies between two such margins, and all of it holds this byte before the call, so a
# value that was not written and one that was written outside are both seen.
POISON = 0x5A
MARGIN = 64

EMITS = ("spikes", "psp", "uint8", "words", "count")
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


@dataclass(frozen=True)
class Case:
    """Arguments of a call; parameters broadcast to a step's shape by torch's rules.

    A bias with one dimension more than that shape has time, `[T, *]`.
    """

    x: Tensor  # [T, *], or [*] where static
    theta: Tensor
    v_init: Tensor
    bias: Tensor | None = None
    count_init: Tensor | None = None
    T: int = 0  # only where static
    hard: bool = False
    v_reset: float = 0.0
    signed: bool = False
    tie_fires: bool = True
    emit: str = "spikes"
    return_v: str = "last"
    order: Sequence[int] | None = None  # neuron dimensions, outermost first, as outputs hold them

    @property
    def static(self) -> bool:
        return self.T > 0

    @property
    def steps(self) -> int:
        return self.T or self.x.shape[0]

    @property
    def shape(self) -> torch.Size:
        return self.x.shape if self.static else self.x.shape[1:]

    @property
    def bias_in_time(self) -> bool:
        return self.bias is not None and self.bias.dim() == len(self.shape) + 1


def expected(case: Case) -> tuple[Tensor, Tensor | None]:
    """Outputs by the definition, in the neurons' own order: `[T, *]` or `[*]`."""
    v = case.v_init.expand(case.shape)
    net_count = torch.zeros(case.shape, dtype=torch.int32)
    initial = torch.zeros((), dtype=torch.int32) if case.count_init is None else case.count_init
    unit = case.theta.to(case.x.dtype) if case.emit == "psp" else torch.ones((), dtype=case.x.dtype)
    trace, all_spikes, rows = [], [], []
    for t in range(case.steps):
        m = v + (case.x if case.static else case.x[t]).float()
        if case.bias is not None:
            m = m + (case.bias[t] if case.bias_in_time else case.bias)
        up = m >= case.theta if case.tie_fires else m > case.theta
        down = (m < 0) & (initial + net_count > 0) & torch.tensor(case.signed)
        soft = torch.where(up, m - case.theta, torch.where(down, m + case.theta, m))
        hard = torch.where(up | down, torch.tensor(case.v_reset, dtype=torch.float32), m)
        v = hard if case.hard else soft
        spikes = up.int() - down.int()
        net_count = net_count + spikes
        trace.append(v)
        all_spikes.append(spikes)
        rows.append(
            torch.where(up, unit, torch.where(down, -unit, torch.zeros((), dtype=unit.dtype)))
        )
    by_step = torch.stack(all_spikes)
    if case.emit == "words":
        bits = [s.long() << t for t, s in enumerate(all_spikes)]
        emitted = torch.stack(bits).sum(0).to(torch.uint32).view(torch.int32)
    elif case.emit == "count":
        emitted = by_step.sum(0, dtype=torch.int32)
    elif case.emit == "uint8":
        emitted = by_step.to(torch.int8 if case.signed else torch.uint8)
    else:
        emitted = torch.stack(rows).expand(case.steps, *case.shape)
    if case.return_v == "none":
        return emitted, None
    return emitted, v if case.return_v == "last" else torch.stack(trace)


def run(case: Case, misalign: int = 0) -> tuple[Tensor, Tensor | None]:
    """Outputs of the kernel, flat as it writes them; `misalign` shifts them by so many elements."""
    order = tuple(range(len(case.shape))) if case.order is None else tuple(case.order)
    N = prod(case.shape)
    emitted_dtype = {
        "spikes": case.x.dtype,
        "psp": case.x.dtype,
        "uint8": torch.int8 if case.signed else torch.uint8,
        "words": torch.int32,
        "count": torch.int32,
    }[case.emit]
    emitted_rows = 1 if case.emit in ("words", "count") else case.steps
    v_rows = {"none": 0, "last": 1, "all": case.steps}[case.return_v]
    buffers = [
        _poisoned(emitted_rows * N + misalign, emitted_dtype),
        _poisoned(v_rows * N + misalign, torch.float32),
    ]
    emitted, v = (buffer[MARGIN + misalign : len(buffer) - MARGIN] for buffer in buffers)

    def strides(tensor: Tensor | None) -> list[int]:
        if tensor is None:
            return []
        # A single neuron without dimensions is one dimension of size 1.
        return [tensor.expand(case.shape).stride(d) for d in order] or [0]

    bias, bias_stride_t = case.bias, 0
    if bias is not None and case.bias_in_time:
        bias, bias_stride_t = bias.select(0, 0), bias.stride(0)
    given = (case.x, case.theta, case.v_init, case.bias, case.count_init)
    on_device = [None if tensor is None else _on_device(tensor) for tensor in given]
    with loads_stay_inside([tensor for tensor in on_device if tensor is not None]):
        if_multistep_fwd(
            *on_device,
            emitted,
            v if v_rows else None,
            T=case.steps,
            sizes=[case.shape[d] for d in order] or [1],
            x_stride_t=0 if case.static else case.x.stride(0),
            x_strides=strides(case.x if case.static else case.x.select(0, 0)),
            threshold_strides=strides(case.theta),
            v_init_strides=strides(case.v_init),
            bias_stride_t=bias_stride_t,
            bias_strides=strides(bias),
            count_strides=strides(case.count_init),
            hard=case.hard,
            v_reset=case.v_reset,
            signed=case.signed,
            tie_fires=case.tie_fires,
            emit=case.emit,
            return_v=case.return_v,
        )
    for buffer in buffers:
        margins = torch.cat((buffer[: MARGIN + misalign], buffer[len(buffer) - MARGIN :]))
        assert (margins.view(torch.uint8) == POISON).all(), "written outside of the output"
    return emitted.cpu(), v.cpu() if v_rows else None


def check(case: Case, misalign: int = 0) -> None:
    """The kernel's outputs equal the loop's, bit for bit."""
    actual = run(case, misalign)
    for name, got, wanted in zip(("emitted", "v"), actual, expected(case), strict=True):
        if wanted is None:
            assert got is None
            continue
        if case.order is not None:
            lead = wanted.dim() - len(case.shape)
            wanted = wanted.permute([*range(lead), *(lead + d for d in case.order)])
        assert_same_bits(got, wanted.reshape(-1), f"{name} of {describe(case)}")


def check_options(case: Case) -> None:
    """`check` for the outputs in which a mistake of addressing or of arithmetic can show."""
    for emit, return_v in (("spikes", "all"), ("count", "last"), ("psp", "none")):
        check(replace(case, emit=emit, return_v=return_v))


def assert_same_bits(got: Tensor, wanted: Tensor, what: str) -> None:
    """Equal dtype, size and bits; any NaN equals any other."""
    assert got.dtype == wanted.dtype, f"{what}: dtype {got.dtype}, wanted {wanted.dtype}"
    assert got.shape == wanted.shape, f"{what}: shape {got.shape}, wanted {wanted.shape}"
    bits = BITS[got.element_size()]
    same = got.view(bits) == wanted.contiguous().view(bits)
    if got.is_floating_point():
        same |= got.isnan() & wanted.isnan()
    wrong = (~same).nonzero().flatten()
    assert len(wrong) == 0, (
        f"{what}: {len(wrong)} of {len(got)} values differ, first at {int(wrong[0])}: "
        f"got {got[wrong[0]].item()}, wanted {wanted[wrong[0]].item()}"
    )


def describe(case: Case) -> str:
    """A case in one line, for messages."""
    return (
        f"x {case.x.dtype} {tuple(case.x.shape)} strides {case.x.stride()}, T={case.steps}, "
        f"hard={case.hard}, signed={case.signed}, tie_fires={case.tie_fires}, "
        f"emit={case.emit}, return_v={case.return_v}, "
        f"bias={None if case.bias is None else tuple(case.bias.shape)}, "
        f"count_init={case.count_init is not None}"
    )


def currents(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Random currents: a third in quarters, so that thresholds are met exactly, the rest normal."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(shape, generator=generator)
    quarters = torch.randint(-4, 7, shape, generator=generator) / 4
    pick = torch.rand(shape, generator=generator) < 1 / 3
    return torch.where(pick, quarters, normal + 0.25).to(dtype)


def thresholds(*shape: int, seed: int = 1) -> Tensor:
    """Random thresholds from 0.25 to 2, half of them in quarters."""
    generator = torch.Generator().manual_seed(seed)
    quarters = torch.randint(1, 9, shape, generator=generator) / 4
    free = 0.25 + 1.75 * torch.rand(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < 0.5, quarters, free)


def potentials(*shape: int, seed: int = 2) -> Tensor:
    """Random initial potentials or biases around zero, half of them in eighths."""
    generator = torch.Generator().manual_seed(seed)
    eighths = torch.randint(-4, 5, shape, generator=generator) / 8
    free = torch.randn(shape, generator=generator) / 4
    return torch.where(torch.rand(shape, generator=generator) < 0.5, eighths, free)


def counts(*shape: int, seed: int = 3) -> Tensor:
    """Random initial net counts, 0 among them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 3, shape, generator=generator, dtype=torch.int32)


@contextmanager
def loads_stay_inside(tensors: Sequence[Tensor], and_new_memory: bool = False) -> Iterator[None]:
    """Fail at the first load outside of these tensors' storages; only the interpreter can tell.

    With `and_new_memory` tensors that `new_empty` makes meanwhile may be read too.
    """
    ranges = [
        (storage.data_ptr(), storage.data_ptr() + storage.nbytes())
        for storage in (tensor.untyped_storage() for tensor in tensors)
    ]
    load = InterpreterBuilder.create_masked_load

    def checked(builder: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        addresses = pointers.data[np.broadcast_to(mask.data != 0, pointers.data.shape)]
        inside = np.zeros(addresses.shape, dtype=bool)
        for start, end in ranges:
            inside |= (addresses >= start) & (addresses < end)
        assert inside.all(), "loaded outside of the operands"
        return load(builder, pointers, mask, *rest)

    new_empty = Tensor.new_empty

    def noted(tensor: Tensor, *sizes: Any, **options: Any) -> Tensor:
        made = new_empty(tensor, *sizes, **options)
        start = made.untyped_storage().data_ptr()
        ranges.append((start, start + made.untyped_storage().nbytes()))
        return made

    with (
        patch.object(InterpreterBuilder, "create_masked_load", checked),
        patch.object(Tensor, "new_empty", noted if and_new_memory else new_empty),
    ):
        yield


def _on_device(tensor: Tensor) -> Tensor:
    # Not Tensor.to, which does not keep every stride.
    storage = tensor.untyped_storage().to(device=DEVICE)
    moved = torch.empty(0, dtype=tensor.dtype, device=DEVICE)
    return moved.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


def _poisoned(elements: int, dtype: torch.dtype) -> Tensor:
    buffer = torch.empty(elements + 2 * MARGIN, dtype=dtype, device=DEVICE)
    buffer.view(torch.uint8).fill_(POISON)
    return buffer
