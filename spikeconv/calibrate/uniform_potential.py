"""Initial potential = uniform from 0 to theta, by neuron (compared by Bu et al., AAAI 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def uniform_potential(
    generator: np.random.Generator, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """v_init / theta ~ U(0, 1), a number for every neuron. float32 of the shape.

    E[v_init] = theta / 2, so the mean error of many neurons is 0, as it is from theta / 2; the
    variance theta^2 / 12 makes the mean square error (theta^2 / 12 + theta^2 / 12) / T^2, twice
    that of theta / 2. In exchange neurons with equal currents do not fire at the same steps.

    Source: Bu et al., "Optimized Potential Initialization for Low-latency Spiking Neural Networks",
    AAAI 2022, which compares it.
    """
    return generator.random(shape, np.float32)
