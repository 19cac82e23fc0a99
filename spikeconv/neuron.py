"""The IF population as a module."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor, nn

from spikeconv.ops import if_multistep


def _summary(value: Tensor) -> str:
    """One number, or shape and range: what a repr has room for."""
    if value.is_meta:
        return f"{list(value.shape)} on meta"
    if value.numel() == 0:
        return str(list(value.shape))
    if value.numel() == 1:
        return f"{value.item():.4g}"
    return f"{list(value.shape)} in [{value.min().item():.4g}, {value.max().item():.4g}]"


def _buffer(argument: str, value: float | Tensor, wanted: str = "finite") -> Tensor:
    """An own copy of a parameter, cut off from its gradient."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"IFNode: {argument} must be a number or a tensor, got {type(value).__name__}"
        )
    if not math.isfinite(value):
        raise ValueError(f"IFNode: {argument} must be {wanted}, got {value}")
    return torch.tensor(float(value))


class IFNode(nn.Module):
    """Integrate-and-fire neurons: all time-steps in one call, no state kept between calls.

    The recurrence is `if_multistep`'s. theta, the initial potential and the bias are buffers: they
    follow `.to(device)` and are saved in the state dict.

    Args:
        v_threshold: theta > 0; a number or a tensor that broadcasts to one step's shape ``[*]``.
        v_init: membrane potential before the first step, in the units of x; likewise.
        bias: current added at every step, likewise, or None.
        reset: ``"soft"`` (by subtraction) or ``"hard"`` (to ``v_reset``).
        v_reset: potential after a spike with hard reset.
        signed: also fire -1 where the potential is negative and the net count above 0.
        emit: what a call returns: ``"spikes"``, ``"psp"``, ``"uint8"``, ``"words"`` or ``"count"``.
        backend: as in `if_multistep`.

    Raises:
        TypeError, ValueError: an argument is wrong, as in `if_multistep`; at once where it shows.

    Example:
        >>> node = IFNode(v_threshold=1.0, v_init=0.5)
        >>> node(torch.tensor([[0.6], [0.6], [0.6], [0.6]])).flatten().tolist()
        [1.0, 0.0, 1.0, 0.0]
        >>> node
        IFNode(v_threshold=1, v_init=0.5)
    """

    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None

    def __init__(
        self,
        v_threshold: float | Tensor = 1.0,
        v_init: float | Tensor = 0.0,
        bias: float | Tensor | None = None,
        *,
        reset: str = "soft",
        v_reset: float = 0.0,
        signed: bool = False,
        emit: str = "spikes",
        backend: str | None = None,
    ) -> None:
        super().__init__()
        theta = _buffer("v_threshold", v_threshold, "positive and finite everywhere")
        if not theta.is_meta and not bool(((theta > 0) & torch.isfinite(theta)).all()):
            raise ValueError(
                f"IFNode: v_threshold must be positive and finite everywhere, got {_summary(theta)}"
            )
        self.register_buffer("v_threshold", theta)
        self.register_buffer("v_init", _buffer("v_init", v_init))
        self.register_buffer("bias", None if bias is None else _buffer("bias", bias))
        self.reset = reset
        self.v_reset = v_reset
        self.signed = signed
        self.emit = emit
        self.backend = backend
        self._try_on_meta()

    def _try_on_meta(self) -> None:
        """Raise at once what a call would: the operator itself checks the options."""
        given = [p for p in (self.v_threshold, self.v_init, self.bias) if p is not None]
        try:
            shape = torch.broadcast_shapes(*(p.shape for p in given))
        except RuntimeError as error:
            shapes = ", ".join(str(list(p.shape)) for p in given)
            raise ValueError(
                "IFNode: v_threshold, v_init and bias must broadcast with one another, "
                f"got shapes {shapes}"
            ) from error
        if_multistep(
            torch.empty((1, *shape), device="meta"),
            *(p.to("meta") for p in given),
            reset=self.reset,
            v_reset=self.v_reset,
            signed=self.signed,
            emit=self.emit,
            backend=self.backend,
        )

    def forward(self, x: Tensor, T: int | None = None) -> Tensor:
        """Emit for all time-steps of x ``[T, *]``, or of a static x ``[*]`` with ``T=`` given."""
        return self.run(x, T, return_v=None)[0]

    def run(
        self,
        x: Tensor,
        T: int | None = None,
        *,
        v_init: Tensor | None = None,
        count_init: Tensor | None = None,
        emit: str | None = None,
        return_v: str | None = "last",
    ) -> tuple[Tensor, Tensor | None]:
        """`if_multistep` with this population's parameters, some replaced for this call."""
        return if_multistep(
            x,
            self.v_threshold,
            self.v_init if v_init is None else v_init,
            self.bias,
            T=T,
            reset=self.reset,
            v_reset=self.v_reset,
            signed=self.signed,
            emit=self.emit if emit is None else emit,
            return_v=return_v,
            backend=self.backend,
            count_init=count_init,
        )

    def extra_repr(self) -> str:
        parts = [
            f"v_threshold={_summary(self.v_threshold)}",
            f"v_init={_summary(self.v_init)}",
        ]
        if self.bias is not None:
            parts.append(f"bias={_summary(self.bias)}")
        if self.reset != "soft":
            parts.append(f"reset={self.reset!r}, v_reset={self.v_reset:g}")
        if self.signed:
            parts.append("signed=True")
        if self.emit != "spikes":
            parts.append(f"emit={self.emit!r}")
        if self.backend is not None:
            parts.append(f"backend={self.backend!r}")
        return ", ".join(parts)
