"""What a population keeps between calls: its membrane, and whether a call is a step or a run."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

STEP_MODES = ("s", "m")


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _lasting(v: Tensor) -> Tensor:
    """A potential from which a later call may learn: none that inference mode made."""
    if torch.compiler.is_compiling() or not v.is_inference():
        return v
    with torch.inference_mode(False):
        return v.clone()


def check_flag(argument: str, value: object) -> None:
    """Raise TypeError for what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"IFNode: {argument} must be True or False, got {value!r}")


class Membrane(nn.Module):
    """The state of `IFNode`: a potential that may outlive a call, and its trace.

    The potential is no part of the state dict; it follows `.to(...)` and is copied along, without
    its graph. A call on neurons of another shape than the potential's is an error: to begin anew
    unasked would hide a reset that was forgotten.

    Attributes:
        v_seq: potentials after each step ``[T, *]`` where `store_v_seq` asks for them: of the last
            call in step mode ``"m"``, of all steps since `reset` in ``"s"``; else None.
        keep_state: whether the next call goes on from this one's potential; None: in step mode
            ``"s"`` only, where a call that forgot would not be a step.
    """

    v_init: Tensor
    v_seq: Tensor | None
    keep_state: bool | None
    _v: float | Tensor | None  # None: v_init

    def __init__(self, step_mode: str, keep_state: bool | None, store_v_seq: bool) -> None:
        super().__init__()
        if keep_state is not None:
            check_flag("keep_state", keep_state)
        self.keep_state = keep_state
        self.step_mode = step_mode
        self.store_v_seq = store_v_seq
        self._v = None

    @property
    def step_mode(self) -> str:
        """``"s"``: a call is one step, x is ``[*]``; ``"m"``: a run of T steps, x is ``[T, *]``."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        if value not in STEP_MODES:
            raise ValueError(f"IFNode: step_mode must be 's' or 'm', got {value!r}")
        self._step_mode = value

    @property
    def store_v_seq(self) -> bool:
        """Whether `v_seq` is kept; to set it forgets the trace."""
        return self._store_v_seq

    @store_v_seq.setter
    def store_v_seq(self, value: bool) -> None:
        check_flag("store_v_seq", value)
        self._store_v_seq = value
        self.v_seq = None

    @property
    def keeps_state(self) -> bool:
        """Whether the next call goes on from this one's potential."""
        return self.step_mode == "s" if self.keep_state is None else self.keep_state

    @property
    def v(self) -> float | Tensor:
        """The potential: v_init before the first call and after `reset`, then a tensor ``[*]``.

        A number or a tensor of one step's shape may be assigned: the next call begins there.
        """
        if self._v is not None:
            return self._v
        return self.v_init.item() if self.v_init.numel() == 1 else self.v_init

    @v.setter
    def v(self, value: float | Tensor) -> None:
        if isinstance(value, bool) or not isinstance(value, Real | Tensor):
            raise TypeError(
                f"IFNode: v must be a number or a tensor, got {type(value).__name__}; "
                "reset() goes back to v_init"
            )
        if not self.keeps_state:
            raise ValueError(
                "IFNode: v has no effect on a node that keeps no state: give it v_init, or "
                "construct it with keep_state=True or step_mode='s'"
            )
        self._v = value if isinstance(value, Tensor) else float(value)

    def reset(self) -> None:
        """Forget the potential and its trace: the next call begins at v_init."""
        self._v = None
        self.v_seq = None

    def detach(self) -> None:
        """Cut the potential off from its past, as truncated back-propagation through time does."""
        self._v = _detached(self._v)
        self.v_seq = _detached(self.v_seq)

    def run(
        self,
        x: Tensor,
        T: int | None = None,
        *,
        v_init: float | Tensor | None = None,
        return_v: str | None = "last",
    ) -> tuple[Tensor, Tensor | None]:
        """What is emitted for all steps and the potential, from v_init on; nothing is kept."""
        raise NotImplementedError

    def _advance(self, x: Tensor, v: float | Tensor | None) -> tuple[Tensor, Tensor]:
        """What one step emits and the potential after it, from v (None: v_init) on."""
        raise NotImplementedError

    def _check_state_is_all(self) -> None:
        """Raise ValueError if to go on needs more than the potential, which is what is kept."""

    def forward(self, x: Tensor, T: int | None = None) -> Tensor:
        """Emit for all time-steps of x ``[T, *]``, or of a static x ``[*]`` with ``T=`` given.

        In step mode ``"s"``: for one step, x ``[*]``.
        """
        if self.step_mode == "s":
            return self._one_step(x, T)
        if self.keeps_state or self.store_v_seq:
            return self._all_steps(x, T)
        return self.run(x, T, return_v=None)[0]

    def _one_step(self, x: Tensor, T: int | None) -> Tensor:
        if T is not None:
            raise ValueError(
                f"IFNode: T must be None in step mode 's', where a call is one step, got {T}"
            )
        kept = self._kept_for(x.shape if isinstance(x, Tensor) else None)
        emitted, v = self._advance(x, kept)
        if self.keeps_state:
            self._v = _lasting(v)
        if self.store_v_seq:
            step = v.unsqueeze(0)
            self.v_seq = step if self.v_seq is None else torch.cat((self.v_seq, step))
        return emitted

    def _all_steps(self, x: Tensor, T: int | None) -> Tensor:
        neurons = None
        if isinstance(x, Tensor):
            neurons = x.shape if T is not None else x.shape[1:]
        kept = self._kept_for(neurons)
        emitted, v = self.run(x, T, v_init=kept, return_v="all" if self.store_v_seq else "last")
        assert v is not None
        if self.store_v_seq:
            self.v_seq, v = v, v[-1].clone()
        if self.keeps_state:
            self._v = _lasting(v)
        return emitted

    def _kept_for(self, neurons: torch.Size | None) -> float | Tensor | None:
        """The potential that a call on a population of this shape goes on from; None: v_init."""
        if not self.keeps_state:
            return None
        self._check_state_is_all()
        v = self._v
        if isinstance(v, Tensor) and v.dim() > 0 and neurons is not None and v.shape != neurons:
            raise ValueError(
                f"IFNode: x must be a current of {list(v.shape)} neurons, whose potential is kept "
                f"from the call before, got {list(neurons)}; call reset(), or SpikingJelly's "
                "reset_net(net), before a batch of another shape"
            )
        return v

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Membrane:
        super()._apply(fn)  # type: ignore[no-untyped-call]  # no children to recurse into
        for name in ("_v", "v_seq"):
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                setattr(self, name, fn(value))
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What is copied or saved has no graph: torch copies no tensor that is part of one.
        state = self.__dict__.copy()
        for name in ("_v", "v_seq"):
            if name in state:
                state[name] = _detached(state[name])
        return state
