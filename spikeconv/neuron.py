"""The IF population as a module."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

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


def _step_buffer(value: Tensor | None) -> Tensor | None:
    """An own copy of the biases of the first steps."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise TypeError(f"IFNode: step_bias must be a tensor or None, got {type(value).__name__}")
    if not value.is_floating_point() or value.layout != torch.strided:
        raise TypeError(
            "IFNode: step_bias must be a dense floating-point tensor, "
            f"got {value.dtype}, {value.layout}"
        )
    if value.dim() == 0 or len(value) == 0:
        raise ValueError(
            f"IFNode: step_bias must be [T, *] with T >= 1, got shape {list(value.shape)}"
        )
    return value.detach().clone()


class IFNode(nn.Module):
    """Integrate-and-fire neurons: all time-steps in one call, no state kept between calls.

    The recurrence is `if_multistep`'s, with bias_t = bias + step_bias[t], and step_bias[t] = 0 from
    its end on: a correction is for the steps that it was made for. theta, the initial potential and
    the biases are buffers: they follow `.to(device)` and are saved in the state dict.

    Args:
        v_threshold: theta > 0; a number or a tensor that broadcasts to one step's shape ``[*]``.
        v_init: membrane potential before the first step, in the units of x; likewise.
        bias: current added at every step, likewise, or None.
        step_bias: currents ``[T, *]`` added at the first T steps beside the bias, or None; what
            follows T broadcasts to one step's shape like the other parameters (``[T, C, 1, 1]``
            beside a theta ``[C, 1, 1]``). A call of fewer steps takes the first ones.
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
        >>> corrected = IFNode(v_threshold=1.0, step_bias=torch.tensor([[1.0], [-0.5]]))
        >>> corrected(torch.tensor([[0.6], [0.6], [0.6], [0.6]])).flatten().tolist()
        [1.0, 0.0, 1.0, 0.0]
    """

    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None
    step_bias: Tensor | None

    def __init__(
        self,
        v_threshold: float | Tensor = 1.0,
        v_init: float | Tensor = 0.0,
        bias: float | Tensor | None = None,
        *,
        step_bias: Tensor | None = None,
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
        self.register_buffer("step_bias", _step_buffer(step_bias))
        self.reset = reset
        self.v_reset = v_reset
        self.signed = signed
        self.emit = emit
        self.backend = backend
        self._try_on_meta()

    def _try_on_meta(self) -> None:
        """Raise at once what a call would: the operator itself checks the options."""
        one_step = None if self.step_bias is None else self.step_bias[0]
        parameters = (self.v_threshold, self.v_init, self.bias, one_step)
        given = [p for p in parameters if p is not None]
        try:
            shape = torch.broadcast_shapes(*(p.shape for p in given))
        except RuntimeError as error:
            shapes = ", ".join(str(list(p.shape)) for p in given)
            raise ValueError(
                "IFNode: v_threshold, v_init, bias and each step of step_bias must broadcast with "
                f"one another, got shapes {shapes}"
            ) from error
        x = torch.empty((1, *shape), device="meta")
        bias = self._bias_from(0, x, None)
        if_multistep(
            x,
            self.v_threshold.to("meta"),
            self.v_init.to("meta"),
            None if bias is None else bias.to("meta"),
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
        start: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """`if_multistep` with this population's parameters, some replaced for this call.

        `start` is the first step of this call where time runs in several, counted from 0: with it
        the step_bias of a whole run goes on where the call before ended.
        """
        return if_multistep(
            x,
            self.v_threshold,
            self.v_init if v_init is None else v_init,
            self._bias_from(start, x, T),
            T=T,
            reset=self.reset,
            v_reset=self.v_reset,
            signed=self.signed,
            emit=self.emit if emit is None else emit,
            return_v=return_v,
            backend=self.backend,
            count_init=count_init,
        )

    def _bias_from(self, start: int, x: Tensor, T: int | None) -> Tensor | None:
        """The operator's bias from step `start` on: one for all of x's steps, or one for each."""
        if isinstance(start, bool) or not isinstance(start, Integral | torch.SymInt):
            raise TypeError(f"IFNode: start must be an integer, got {type(start).__name__}")
        if start < 0:
            raise ValueError(f"IFNode: start must be at least 0, got {start}")
        if self.step_bias is None or not isinstance(x, Tensor):
            return self.bias
        if T is None and x.dim() > 0:
            steps, dims = x.shape[0], x.dim() - 1
        elif isinstance(T, Integral | torch.SymInt):
            steps, dims = int(T), x.dim()
        else:
            return self.bias  # the operator says what is wrong with x or T
        rows = self.step_bias[start : start + max(steps, 0)]
        if len(rows) == 0:
            return self.bias
        if len(rows) < steps:  # with -0, which changes no sum, not even that of -0
            rest = rows.new_full((steps - len(rows), *rows.shape[1:]), -0.0)
            rows = torch.cat((rows, rest))
        missing = [1] * (dims + 1 - rows.dim())
        rows = rows.view(steps, *missing, *rows.shape[1:])
        if self.bias is None:
            return rows
        # In 16 bits each of them was rounded once; their sum is not.
        return rows.to(torch.promote_types(rows.dtype, torch.float32)) + self.bias

    def replaced(self, **changes: Any) -> IFNode:
        """Another population with some arguments of the constructor replaced.

        >>> IFNode(2.0, v_init=1.0).replaced(bias=0.5)
        IFNode(v_threshold=2, v_init=1, bias=0.5)
        """
        names = ("v_threshold", "v_init", "bias", "step_bias", "reset", "v_reset", "signed")
        kept = {name: getattr(self, name) for name in (*names, "emit", "backend")}
        return IFNode(**{**kept, **changes})

    def extra_repr(self) -> str:
        parts = [
            f"v_threshold={_summary(self.v_threshold)}",
            f"v_init={_summary(self.v_init)}",
        ]
        if self.bias is not None:
            parts.append(f"bias={_summary(self.bias)}")
        if self.step_bias is not None:
            parts.append(f"step_bias={_summary(self.step_bias)}")
        if self.reset != "soft":
            parts.append(f"reset={self.reset!r}, v_reset={self.v_reset:g}")
        if self.signed:
            parts.append("signed=True")
        if self.emit != "spikes":
            parts.append(f"emit={self.emit!r}")
        if self.backend is not None:
            parts.append(f"backend={self.backend!r}")
        return ", ".join(parts)
