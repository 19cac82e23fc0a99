"""The IF population as a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.changes import version
from spikeconv.membrane import Membrane, check_flag
from spikeconv.node_arguments import (
    StillFinite,
    along,
    as_channel_dim,
    as_finite,
    as_parameter,
    as_potential,
    as_step_bias,
    as_threshold,
    as_v_reset,
    in_words,
)
from spikeconv.ops import if_multistep
from spikeconv.ops.call import state_dtype
from spikeconv.ops.check import check_threshold_values
from spikeconv.ops.step import one_step
from spikeconv.spike_function import as_surrogate
from spikeconv.surrogate import Surrogate
from spikeconv.timed_bias import timed_bias

# The constructor's arguments by what a repr need not say; ... where it says them in another way.
_ARGUMENTS: dict[str, object] = {
    **dict.fromkeys(("v_threshold", "v_init", "bias", "step_bias", "v_reset"), ...),
    "surrogate_function": None,
    "detach_reset": False,
    "fires": "ge",
    "step_mode": "m",
    "keep_state": None,
    "store_v_seq": False,
    "channel_dim": None,
    "signed": False,
    "emit": "spikes",
    "backend": None,
}


class IFNode(Membrane):
    """Integrate-and-fire neurons: all time-steps in one call, or one step a call.

    The recurrence is `if_multistep`'s, with bias_t = bias + step_bias[t], and step_bias[t] = 0 from
    its end on: a correction is for the steps that it was made for. theta, the initial potential and
    the biases are buffers, own copies that follow `.to(device)` and are saved in the state dict; an
    `nn.Parameter` given for theta, v_init or bias stays that parameter, and learns.

    As constructed by default nothing is kept between calls. In step mode ``"s"``, or with
    ``keep_state=True``, the potential is: a call goes on where the one before ended, `v` is that
    potential, and `reset` forgets it.

    Args:
        v_threshold: theta > 0; a number or a tensor that broadcasts to one step's shape ``[*]``.
        v_init: membrane potential before the first step, in the units of x; likewise, or ``"half"``
            of theta.
        bias: current added at every step, likewise, or None.
        step_bias: currents ``[T, *]`` added at the first T steps beside the bias, or None; what
            follows T broadcasts to one step's shape like the other parameters (``[T, C, 1, 1]``
            beside a theta ``[C, 1, 1]``). A call of fewer steps takes the first ones. Not where
            state is kept.
        v_reset: potential after a spike, or None for reset by subtraction of theta.
        surrogate_function: what the backward pass takes for the derivative of a spike: one of
            `spikeconv.surrogate` or of SpikingJelly's; None: no gradient.
        detach_reset: take no gradient through the spikes that reset the potential.
        fires: ``"ge"`` or ``"gt"``: whether a potential equal to theta fires or not.
        step_mode: ``"m"``, a call takes x ``[T, *]``, or ``"s"``, one step ``[*]``.
        keep_state: whether a call goes on from the potential of the one before; None: in step mode
            ``"s"`` only.
        store_v_seq: keep the potentials after each step as `v_seq`.
        channel_dim: dimension of one step's x along which parameters of one dimension lie: 1 for
            thresholds ``[C]`` and x ``[T, B, C, H, W]``. None: they broadcast like all others.
        signed: also fire -1 where the potential is negative and the net count above 0. Not where
            state is kept.
        emit: what a call returns: ``"spikes"``, ``"psp"``, ``"uint8"``, ``"words"`` or ``"count"``.
        backend: as in `if_multistep`; SpikingJelly's ``"torch"`` and ``"cupy"`` stand for None.
        reset: the other way to choose the reset: ``"soft"``, or ``"hard"`` to `v_reset` (or 0).

    Raises:
        TypeError, ValueError: an argument is wrong, as in `if_multistep`; at once where it shows.
            On a call also where state is kept and the shape of the neurons changes.

    Example:
        >>> node = IFNode(v_threshold=1.0, v_init=0.5)
        >>> node(torch.tensor([[0.6], [0.6], [0.6], [0.6]])).flatten().tolist()
        [1.0, 0.0, 1.0, 0.0]
        >>> node
        IFNode(v_threshold=1, v_init=0.5)
        >>> step = IFNode(v_threshold=1, v_init="half", step_mode="s")
        >>> [step(torch.tensor([0.75])).item() for _ in range(4)], step.v.item()
        ([1.0, 1.0, 0.0, 1.0], 0.5)
        >>> step.reset()
        >>> step.v
        0.5
    """

    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None
    step_bias: Tensor | None
    surrogate_function: Surrogate | None

    def __init__(
        self,
        v_threshold: float | Tensor = 1.0,
        v_init: float | Tensor | str = 0.0,
        bias: float | Tensor | None = None,
        *,
        step_bias: Tensor | None = None,
        v_reset: float | None = None,
        surrogate_function: object = None,
        detach_reset: bool = False,
        fires: str = "ge",
        step_mode: str = "m",
        keep_state: bool | None = None,
        store_v_seq: bool = False,
        channel_dim: int | None = None,
        signed: bool = False,
        emit: str = "spikes",
        backend: str | None = None,
        reset: str | None = None,
    ) -> None:
        super().__init__(step_mode, keep_state, store_v_seq)
        # First: who adopts another library's neuron starts it there, and is to hear of v_reset.
        self.v_reset = as_v_reset(v_reset, reset)
        theta = as_threshold(v_threshold)
        self._hold("v_threshold", v_threshold, theta)
        self._hold("v_init", v_init, as_potential(v_init, theta))
        self._hold("bias", bias, None if bias is None else as_finite("bias", bias))
        self.register_buffer("step_bias", as_step_bias(step_bias))
        self.surrogate_function = as_surrogate(surrogate_function)
        check_flag("detach_reset", detach_reset)
        self.detach_reset = detach_reset
        self.fires = fires
        self.channel_dim = as_channel_dim(channel_dim)
        self.signed = signed
        self.emit = emit
        self.backend = backend
        self._checked: object = None
        self._finite = StillFinite()
        self._try_on_meta()

    def _hold(self, name: str, given: object, copied: Tensor | None) -> None:
        """Keep what was given where it learns, else its copy."""
        if isinstance(given, nn.Parameter):
            self.register_parameter(name, given)
        else:
            self.register_buffer(name, copied)

    def __setattr__(self, name: str, value: Any) -> None:
        parameter = name in ("v_threshold", "v_init") or (name == "bias" and value is not None)
        if parameter and not isinstance(value, Tensor):  # which is all that torch takes
            value = as_parameter(name, value, self.v_threshold)
        if name == "surrogate_function":
            value = as_surrogate(value)
        super().__setattr__(name, value)

    @property
    def backend(self) -> str | None:
        """Which backend of `if_multistep` runs, or None for the best."""
        return self._backend

    @backend.setter
    def backend(self, value: str | None) -> None:
        self._backend = None if value in ("torch", "cupy") else value

    def _try_on_meta(self) -> None:
        """Raise at once what a call would: the operator itself checks the options."""
        self._check_state_is_all()
        one_step = None if self.step_bias is None else self.step_bias[0]
        if one_step is not None and self.channel_dim is not None:
            raise ValueError("IFNode: step_bias must be None with channel_dim")
        dims = 0
        if self.channel_dim is not None:
            dims = self.channel_dim + 1 if self.channel_dim >= 0 else -self.channel_dim
        parameters = (self.v_threshold, self.v_init, self.bias, one_step)
        given = [self._along(p, dims) for p in parameters if p is not None]
        try:
            shape = torch.broadcast_shapes(*(p.shape for p in given))
        except RuntimeError as error:
            shapes = ", ".join(str(list(p.shape)) for p in given)
            raise ValueError(
                "IFNode: v_threshold, v_init, bias and each step of step_bias must broadcast with "
                f"one another, got shapes {shapes}"
            ) from error
        x = torch.empty((1, *shape), device="meta")
        bias = timed_bias(self._bias(len(shape)), self.step_bias, x, None, 0)
        theta, v_init = (p.to("meta") for p in given[:2])
        bias = None if bias is None else bias.to("meta")
        if_multistep(x, theta, v_init, bias, **self._options(self.emit))

    def _check_state_is_all(self) -> None:
        if self.keeps_state and (self.signed or self.step_bias is not None):
            what = "signed" if self.signed else "step_bias"
            raise ValueError(
                f"IFNode: {what} must not be given where state is kept, which is the potential "
                "alone; run(v_init=, count_init=, start=) goes on from all of it"
            )

    def run(
        self,
        x: Tensor,
        T: int | None = None,
        *,
        v_init: float | Tensor | None = None,
        count_init: Tensor | None = None,
        emit: str | None = None,
        return_v: str | None = "last",
        start: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """`if_multistep` with this population's parameters, some replaced for this call.

        Whatever the step mode, x has time or is static, and nothing is kept. `start` is the first
        step of this call where time runs in several, counted from 0: with it the step_bias of a
        whole run goes on where the call before ended.
        """
        dims = x.dim() - (T is None) if isinstance(x, Tensor) else 0
        own = self.v_init if v_init is None else None
        self._finite.check(x, v_init=own, bias=self.bias, step_bias=self.step_bias)
        return if_multistep(
            x,
            self._along(self.v_threshold, dims),
            self._along(self.v_init, dims) if v_init is None else v_init,
            timed_bias(self._bias(dims), self.step_bias, x, T, start),
            T=T,
            return_v=return_v,
            count_init=count_init,
            **self._options(self.emit if emit is None else emit),
        )

    def _options(self, emit: str) -> dict[str, Any]:
        """What `if_multistep` takes besides tensors, T and return_v."""
        return {
            "reset": "soft" if self.v_reset is None else "hard",
            "v_reset": 0.0 if self.v_reset is None else self.v_reset,
            "signed": self.signed,
            "fires": self.fires,
            "emit": emit,
            "surrogate": self.surrogate_function,
            "detach_reset": self.detach_reset,
            "backend": self.backend,
        }

    def _along(self, parameter: Tensor, dims: int) -> Tensor:
        """A parameter as it broadcasts to one step of so many dimensions."""
        return along(parameter, self.channel_dim, dims)

    def _bias(self, dims: int) -> Tensor | None:
        return None if self.bias is None else self._along(self.bias, dims)

    def _advance(self, x: Tensor, v: float | Tensor | None) -> tuple[Tensor, Tensor]:
        if self.emit != "spikes" or self.signed or self.backend or self.step_bias is not None:
            emitted, last = self.run(x, 1, v_init=v)
            assert last is not None
            return emitted.squeeze(0) if emitted.dim() > x.dim() else emitted, last
        dims = x.dim() if isinstance(x, Tensor) else 0
        self._check_thresholds(x)
        self._finite.check(x, v_init=self.v_init if v is None else None, bias=self.bias)
        return one_step(
            x,
            self._along(self.v_init, dims) if v is None else v,
            self._along(self.v_threshold, dims),
            self._bias(dims),
            v_reset=self.v_reset,
            fires=self.fires,
            surrogate=self.surrogate_function,
            detach_reset=self.detach_reset,
        )

    def _check_thresholds(self, x: Tensor) -> None:
        """Read the thresholds once for each version of them; `if_multistep` does at every call."""
        theta = self.v_threshold
        if torch.compiler.is_compiling() or not isinstance(x, Tensor):
            return
        now = (version(theta), x.dtype)
        if now != self._checked:
            check_threshold_values(theta, state_dtype(x))
            self._checked = now

    def replaced(self, **changes: Any) -> IFNode:
        """Another population with some arguments of the constructor replaced.

        >>> IFNode(2.0, v_init=1.0).replaced(bias=0.5)
        IFNode(v_threshold=2, v_init=1, bias=0.5)
        """
        kept = {name: getattr(self, name) for name in _ARGUMENTS}
        return IFNode(**{**kept, **changes})

    def extra_repr(self) -> str:
        return in_words(self, _ARGUMENTS)
