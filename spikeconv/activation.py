"""Activations of ANNs made to be converted: a trained clip bound (TCL), a trained step (QCFS)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A bound that training drives towards 0 would silence the layer for good.
LEAST_BOUND = 1e-3
# Whole numbers that float32 counts.
_MOST_LEVELS = 2**24


class Clip(nn.Module):
    """min(max(x, 0), bound) with a trained bound: the activation of T -> infinity time-steps.

    d out / d bound is 1 where x is above the bound, else 0.

    Args:
        bound: its first value, above 0; one for the layer. Conversion takes it as threshold.

    Raises:
        ValueError: a bound that is not above 0.

    Source: Ho, Chang, "TCL: an ANN-to-SNN Conversion with Trainable Clipping Layers", DAC 2021.

    Example:
        >>> Clip(2.0)(torch.tensor([-1.0, 1.5, 3.0])).tolist()
        [0.0, 1.5, 2.0]
    """

    bound: Tensor

    def __init__(self, bound: float = 4.0) -> None:
        super().__init__()
        if not bound > 0:
            raise ValueError(f"{type(self).__name__}: bound must be above 0, got {bound}")
        self.bound = nn.Parameter(torch.tensor(float(bound)))

    def cap(self) -> Tensor:
        """The bound, kept above 0. Shape ``[]``."""
        return self.bound.clamp(min=LEAST_BOUND)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[*]`` to ``[*]``."""
        return torch.minimum(x.clamp(min=0), self.cap().to(x.dtype))

    def extra_repr(self) -> str:
        return f"bound={self.bound.item():.4g}"


class QCFS(Clip):
    """bound / L * floor(clip(x / bound, 0, 1) * L + 1/2): what L time-steps of a neuron can say.

    The gradient passes the floor as if it were the identity, so it is that of a clip, and for the
    bound out / bound - x / bound inside it and 1 above.

    Args:
        levels: L, from 1 to 2^24.
        bound: its first value, above 0.

    Raises:
        ValueError: a bound that is too small, or a number of levels out of range.

    Source: Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking
    Neural Networks", ICLR 2022, eq. 16, with the clip before the floor.

    Example:
        >>> QCFS(4, 2.0)(torch.tensor([-1.0, 0.3, 1.5, 3.0])).tolist()
        [0.0, 0.5, 1.5, 2.0]
    """

    levels: Tensor

    def __init__(self, levels: int = 4, bound: float = 4.0) -> None:
        super().__init__(bound)
        whole = isinstance(levels, int) and not isinstance(levels, bool)
        if not whole or not 1 <= levels <= _MOST_LEVELS:
            raise ValueError(
                f"QCFS: levels must be a whole number from 1 to {_MOST_LEVELS:,}, got {levels!r}"
            )
        # In the state dict, so that a file of weights says what it is.
        self.register_buffer("levels", torch.tensor(levels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[*]`` to ``[*]``."""
        cap = self.cap().to(x.dtype)
        part = (x / cap).clamp(0, 1)
        scaled = part * self.levels.to(x.dtype)
        # The difference is 0, so the value is a whole number exactly; only its gradient counts.
        whole = (scaled.detach() + 0.5).floor() + (scaled - scaled.detach())
        return whole * (cap / self.levels.to(x.dtype))

    def extra_repr(self) -> str:
        return f"levels={int(self.levels)}, {super().extra_repr()}"


def make_activation(kind: str, levels: int = 4) -> nn.Module:
    """The activation of this name: ``"relu"``, ``"clip"`` or ``"qcfs"`` with so many levels.

    Raises:
        ValueError: no such activation, or levels below 1.
    """
    if kind == "relu":
        return nn.ReLU(inplace=True)
    if kind == "clip":
        return Clip()
    if kind == "qcfs":
        return QCFS(levels)
    raise ValueError(f"make_activation: kind must be 'relu', 'clip' or 'qcfs', got {kind!r}")


def describe(kind: str, levels: int) -> str:
    """The activation as it stands in the description of a network; nothing for ReLU."""
    return {"relu": "", "qcfs": f", qcfs with {levels} levels"}.get(kind, f", {kind}")
