"""Calls of the native operators: operands in any layout, outputs filled with what must not stay."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tests.native import plain

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
EMITS = ("spikes", "psp", "uint8", "words", "count")
RETURN_VS = ("none", "last", "all")
LAYOUTS = ("dense", "gaps", "reversed", "first", "last", "runs")
BIASES_IN_TIME = ("none", "same", "timed")


def view(sizes: tuple[int, ...], layout: str, values: Tensor) -> Tensor:
    """Values drawn at random, as a view of shape `sizes` in one of LAYOUTS; NaN between them."""

    def drawn(shape: tuple[int, ...]) -> Tensor:
        return values[torch.randint(len(values), shape)]

    if layout == "gaps":
        shape = (*sizes[:-1], 2 * sizes[-1] + 3)
        hole = float("nan") if values.is_floating_point() else -(2**30)
        room = torch.full(shape, hole, dtype=values.dtype)
        inside = room[..., 2 : 2 + 2 * sizes[-1] : 2]
        return inside.copy_(drawn(sizes))
    if layout == "reversed":
        return drawn(sizes[::-1]).permute(*reversed(range(len(sizes))))
    if layout == "first":
        return drawn((sizes[0], *[1] * (len(sizes) - 1))).expand(sizes)
    if layout == "runs":
        return drawn((*sizes[:-1], 1)).expand(sizes)
    if layout == "last":
        return drawn((*[1] * (len(sizes) - 1), sizes[-1])).expand(sizes)
    return drawn(sizes)


def currents(dtype: torch.dtype) -> Tensor:
    """Inputs that meet thresholds exactly, and every kind of float there is."""
    tiny, huge = torch.finfo(dtype).smallest_normal / 4, torch.finfo(dtype).max
    ordinary = torch.arange(-10, 16) / 8
    special = torch.tensor([tiny, -tiny, -0.0, huge, -huge, torch.inf, -torch.inf, torch.nan])
    return torch.cat([ordinary.repeat(40), special]).to(dtype)


# 1.003 and 1e-7 round on the way to 16 bits, 70000 is infinite in float16.
THRESHOLDS = torch.tensor([0.5, 0.75, 1.0, 1.0, 1.003, 1e-7, 70000.0])
POTENTIALS = torch.tensor([0.0, -0.0, 0.25, 0.5, -1.5, 3.0])
BIASES = torch.tensor([0.0, 0.125, -0.25, 0.5])
COUNTS = torch.tensor([0, 1, 5, -2, 2**31 - 64], dtype=torch.int32)

SHAPES = (
    ("dense", (1,), 4),
    ("dense", (7,), 1),
    ("dense", (4099,), 33),
    ("dense", (4096,), 4),
    ("gaps", (17, 59), 4),
    ("reversed", (3, 5, 67), 33),
    ("reversed", (25, 192), 12),
    ("first", (2, 504), 5),
    ("last", (2, 3, 167), 32),
    ("runs", (3, 70), 9),
)


@dataclass(frozen=True)
class Case:
    """One population; x, and maybe the bias, is `[T, *sizes]`, the others `[*sizes]`, all views."""

    x: Tensor
    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None = None
    count_init: Tensor | None = None
    hard: bool = False
    v_reset: float = 0.0
    signed: bool = False
    tie_fires: bool = True
    sizes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", list(self.x.shape[1:]))

    @property
    def bias_in_time(self) -> bool:
        return self.bias is not None and self.bias.dim() == self.x.dim()

    def neurons(self) -> plain.Neurons:
        """The same population with every neuron's values spelt out."""
        shape = self.x.shape[1:]

        def flat(tensor: Tensor) -> Tensor:
            return tensor.expand(shape).reshape(-1)

        bias = None
        if self.bias is not None:
            steps = [flat(step) for step in self.bias.expand(self.x.shape)]
            bias = torch.stack(steps).numpy()
        net = torch.zeros((), dtype=torch.int32) if self.count_init is None else self.count_init
        return plain.Neurons(
            self.x.reshape(len(self.x), -1),
            flat(self.v_threshold).numpy(),
            flat(self.v_init).numpy(),
            bias,
            flat(net).numpy(),
            self.hard,
            self.v_reset,
            self.signed,
            self.tie_fires,
        )

    def outputs(self, emit: str, return_v: str) -> tuple[Tensor, Tensor | None]:
        """Outputs `(emitted, v)` in which every value not written shows."""
        T, N = len(self.x), self.x[0].numel()
        if emit in ("words", "count"):
            emitted = torch.full((N,), -123456789, dtype=torch.int32)
        elif emit == "uint8":
            emitted = torch.full((T, N), 77, dtype=torch.int8 if self.signed else torch.uint8)
        else:
            emitted = torch.full((T, N), torch.nan, dtype=self.x.dtype)
        if return_v == "none":
            return emitted, None
        return emitted, torch.full((T, N) if return_v == "all" else (N,), torch.nan)


def arguments(
    case: Case, emitted: Tensor, v: Tensor | None, emit: str, return_v: str
) -> dict[str, object]:
    """The operators' keyword arguments for a case."""

    def strides(tensor: Tensor | None) -> list[int]:
        return [] if tensor is None else list(tensor.expand(case.x.shape[1:]).stride())

    bias, bias_stride_t = case.bias, 0
    if bias is not None and case.bias_in_time:
        bias, bias_stride_t = bias.select(0, 0), bias.stride(0)
    return {
        "x": case.x,
        "v_threshold": case.v_threshold,
        "v_init": case.v_init,
        "bias": case.bias,
        "count_init": case.count_init,
        "emitted": emitted,
        "v": v,
        "T": len(case.x),
        "sizes": case.sizes,
        "x_stride_t": case.x.stride(0),
        "x_strides": list(case.x.stride()[1:]),
        "threshold_strides": strides(case.v_threshold),
        "v_init_strides": strides(case.v_init),
        "bias_stride_t": bias_stride_t,
        "bias_strides": strides(bias),
        "count_strides": strides(case.count_init),
        "hard": case.hard,
        "v_reset": case.v_reset,
        "signed": case.signed,
        "tie_fires": case.tie_fires,
        "emit": emit,
        "return_v": return_v,
    }


def population(
    dtype: torch.dtype,
    T: int,
    sizes: tuple[int, ...],
    layout: str,
    *,
    static: bool,
    signed: bool,
    hard: bool,
    bias: str,
    tie_fires: bool = True,
) -> Case:
    """A case whose x has the given layout; its parameters go through all the layouts.

    `bias` is one of BIASES_IN_TIME.
    """
    others = itertools.islice(itertools.cycle(LAYOUTS), LAYOUTS.index(layout) + 1, None)
    if static or layout in ("first", "last", "runs"):
        x = view(sizes, layout, currents(dtype)).expand(T, *sizes)
    else:
        x = view((T, *sizes), layout, currents(dtype))
    bias_shape = (T, *sizes) if bias == "timed" else sizes
    return Case(
        x,
        view(sizes, next(others), THRESHOLDS),
        view(sizes, next(others), POTENTIALS),
        view(bias_shape, next(others), BIASES) if bias != "none" else None,
        view(sizes, next(others), COUNTS) if signed and bias != "none" else None,
        hard,
        -0.125,
        signed,
        tie_fires,
    )


def populations() -> Iterator[Case]:
    """Every dtype, option and layout, over sizes from one neuron to several blocks of them."""
    torch.manual_seed(0)
    options = itertools.product(DTYPES, (False, True), (False, True), BIASES_IN_TIME)
    for i, (dtype, signed, hard, bias) in enumerate(options):
        for j, (layout, sizes, T) in enumerate(SHAPES):
            yield population(
                dtype,
                T,
                sizes,
                layout,
                static=(i // len(BIASES_IN_TIME) + j) % 2 == 0,
                signed=signed,
                hard=hard,
                bias=bias,
                tie_fires=(i + j) % 3 > 0,
            )


def outputs_wanted(case: Case) -> Iterator[tuple[str, str]]:
    """The combinations of emit and return_v that the case allows."""
    for emit, return_v in itertools.product(EMITS, RETURN_VS):
        if emit != "words" or (len(case.x) <= 32 and not case.signed):
            yield emit, return_v
