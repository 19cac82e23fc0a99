"""SRP: neurons that end a first run with no potential left are silenced in the second."""

from __future__ import annotations

from torch import Tensor

# Of theta; a potential above it is left over, below it is rounding or a debt.
MARGIN = 1e-3


def silenced(v: Tensor, v_threshold: Tensor) -> Tensor:
    """Which neurons fire no more once tau steps of the whole network have left them v.

    ::

        silenced = not (v(tau) > 1e-3 * theta)

    A neuron whose ANN activation is 0 may still fire where its excitation comes before its
    inhibition. It then ends with a negative potential, which tells it from the others. The mask
    is permanent: a neuron that is silenced wrongly stays so however large T is.

    Args:
        v: potentials ``[B, *]`` after tau steps from v_init.
        v_threshold: theta, broadcasts to ``[*]``.

    Returns:
        bool ``[B, *]``, for every neuron and image.

    Source: Hao et al., "Reducing ANN-SNN Conversion Error through Residual Membrane Potential",
    AAAI 2023.

    Example:
        >>> import torch
        >>> silenced(torch.tensor([-0.5, 0.002, 0.5]), torch.tensor(2.0)).tolist()
        [True, True, False]
    """
    return ~(v > MARGIN * v_threshold)
