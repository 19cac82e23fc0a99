"""Initial potential = normal around theta / 2, by neuron (compared by Bu et al., AAAI 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Two deviations to either side are [0, theta], where the potential of a running neuron is: 95 %.
_DEVIATION = 0.25


def gaussian_potential(
    generator: np.random.Generator, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """v_init / theta ~ N(1/2, 1/4^2), a number for every neuron, not cut off. float32 of the shape.

    E[v_init] = theta / 2, so the mean error of many neurons is 0, as it is from theta / 2; the
    variance theta^2 / 16 makes the mean square error (theta^2 / 12 + theta^2 / 16) / T^2, 1.75
    times that of theta / 2. The paper's deviation is not known here; theta / 4 is this package's.

    Source: Bu et al., "Optimized Potential Initialization for Low-latency Spiking Neural Networks",
    AAAI 2022, which compares it.
    """
    return np.float32(0.5) + np.float32(_DEVIATION) * generator.standard_normal(shape, np.float32)
