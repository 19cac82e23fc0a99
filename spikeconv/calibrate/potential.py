"""Initial potentials by name, in units of the threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeconv.calibrate.gaussian_potential import gaussian_potential
from spikeconv.calibrate.uniform_potential import uniform_potential
from spikeconv.node_arguments import is_finite


@dataclass(frozen=True)
class Potential:
    """A way to choose v_init / theta.

    Attributes:
        mean: of all neurons; where they are not drawn, that of each.
        draw: from a generator and a shape, a number for every neuron.
    """

    mean: float
    draw: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float32]] | None = None


INITIAL_POTENTIALS = {
    "zero": Potential(0.0),
    "half": Potential(0.5),
    "uniform": Potential(0.5, uniform_potential),
    "gaussian": Potential(0.5, gaussian_potential),
}


def initial_potential(v_init: str | float) -> float:
    """v_init / theta, of random ones the mean; this is what thresholds are set for.

    Under a current that is uniform within each quantisation step the expected error of the mean
    output is (v_init - theta / 2) / T: zero at one half, and only there.

    Args:
        v_init: ``"zero"``, ``"half"`` (OPI, Bu et al., AAAI 2022), ``"uniform"`` or ``"gaussian"``,
            or a finite number.

    Raises:
        ValueError: anything else.

    >>> initial_potential("half"), initial_potential("uniform"), initial_potential(0.25)
    (0.5, 0.5, 0.25)
    """
    return _potential(v_init).mean


def is_random(v_init: str | float) -> bool:
    """Whether every neuron draws its own.

    >>> is_random("uniform"), is_random("half")
    (True, False)
    """
    return _potential(v_init).draw is not None


def draw_potential(
    v_init: str | float, shape: Sequence[int], seed: int = 0, layer: int = 0
) -> Tensor:
    """v_init / theta of a layer: one number, or for random ones a number for every neuron.

    What a layer draws depends on v_init, shape, seed and layer alone: not on the device, on other
    layers, or on what else draws random numbers.

    Args:
        v_init: as in `initial_potential`.
        shape: the layer's, without the batch.
        seed: whole number >= 0.
        layer: the layer's number >= 0.

    Returns:
        float32 on the CPU, ``[]`` or of the shape.

    Raises:
        ValueError: v_init or seed is none.

    >>> draw_potential("half", (2, 3)), draw_potential("uniform", (2, 3)).shape
    (tensor(0.5000), torch.Size([2, 3]))
    """
    check_seed(seed)
    potential = _potential(v_init)
    if potential.draw is None:
        return torch.tensor(potential.mean, dtype=torch.float32, device="cpu")
    generator = np.random.default_rng([seed, layer])
    return torch.from_numpy(np.asarray(potential.draw(generator, tuple(shape)), np.float32))


def check_seed(seed: int) -> int:
    """The seed as an int; ValueError for what is not a whole number from 0 to 2^63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise ValueError(f"convert: seed must be a whole number from 0 to 2^63 - 1, got {seed!r}")
    return int(seed)


def _potential(v_init: str | float) -> Potential:
    if isinstance(v_init, str):
        if v_init in INITIAL_POTENTIALS:
            return INITIAL_POTENTIALS[v_init]
    elif isinstance(v_init, Real) and not isinstance(v_init, bool) and is_finite(v_init):
        start = float(v_init)
        if abs(start) <= torch.finfo(torch.float32).max:
            return Potential(start)
    known = ", ".join(map(repr, INITIAL_POTENTIALS))
    raise ValueError(
        f"convert: v_init must be {known} or a finite number in units of theta, got {v_init!r}"
    )
