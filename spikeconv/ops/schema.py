"""The torch operator `spikeconv::if_multistep`: schema, router, fake kernel and autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.backends import check_name, resolve
from spikeconv.ops.call import Call, allocate, has_time, state_dtype
from spikeconv.ops.check import check_if_multistep, check_threshold_values

_library = torch.library.Library("spikeconv", "FRAGMENT")
_library.define(
    "if_multistep(Tensor x, Tensor v_threshold, Tensor v_init, Tensor? bias=None, "
    "Tensor? count_init=None, *, SymInt? T=None, str reset='soft', float v_reset=0.0, "
    "bool signed=False, str fires='ge', str emit='spikes', str? return_v='last', "
    "str? backend=None) "
    "-> (Tensor emitted, Tensor v)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _nothing(x: Tensor) -> Tensor:
    """What the schema's second result is where v was not asked for."""
    return x.new_empty(0, dtype=state_dtype(x))


def _beside(x: Tensor, parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter on x's device; a 0-dim tensor of the CPU as a fill, which can be captured."""
    if parameter.device == x.device:
        return parameter.to(dtype)
    return torch.full((), parameter.item(), dtype=dtype, device=x.device)


def _bias_beside(x: Tensor, bias: Tensor | None, static: bool, steps: int) -> Tensor | None:
    """The bias on x's device; where it has time, with as many steps, read over and over if one."""
    if bias is None:
        return None
    bias = _beside(x, bias, state_dtype(x))
    shape = x.shape if static else x.shape[1:]
    return bias.expand(steps, *bias.shape[1:]) if has_time(bias, shape) else bias


def _route(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None = None,
    count_init: Tensor | None = None,
    *,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    signed: bool = False,
    fires: str = "ge",
    emit: str = "spikes",
    return_v: str | None = "last",
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    steps = check_if_multistep(
        x, v_threshold, v_init, bias, count_init, T, reset, v_reset, signed, fires, emit, return_v
    )
    check_threshold_values(v_threshold, state_dtype(x))
    static = T is not None
    chosen = resolve(backend, x, x.dim() if static else x.dim() - 1)
    emitted, v = allocate(x, steps, static=static, signed=signed, emit=emit, return_v=return_v)
    if emitted.numel() > 0:
        dtype = state_dtype(x)
        chosen.run(
            Call(
                x=x,
                v_threshold=_beside(x, v_threshold, dtype),
                v_init=_beside(x, v_init, dtype),
                bias=_bias_beside(x, bias, static, steps),
                count_init=None if count_init is None else _beside(x, count_init, torch.int32),
                T=steps,
                static=static,
                hard=reset == "hard",
                v_reset=v_reset,
                signed=signed,
                tie_fires=fires == "ge",
                emit=emit,
                return_v=return_v,
                emitted=emitted,
                v=v,
            )
        )
    return emitted, _nothing(x) if v is None else v


def _fake(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None = None,
    count_init: Tensor | None = None,
    *,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    signed: bool = False,
    fires: str = "ge",
    emit: str = "spikes",
    return_v: str | None = "last",
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    steps = check_if_multistep(
        x, v_threshold, v_init, bias, count_init, T, reset, v_reset, signed, fires, emit, return_v
    )
    check_name(backend)
    emitted, v = allocate(
        x, steps, static=T is not None, signed=signed, emit=emit, return_v=return_v
    )
    return emitted, _nothing(x) if v is None else v


def _no_gradient(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError(
        "if_multistep has no gradient: a spike is a step function of its input. Call it, or the "
        "spiking network, under torch.no_grad(), or detach its input"
    )


torch.library.impl("spikeconv::if_multistep", "CompositeExplicitAutograd", _route, lib=_library)
torch.library.register_fake("spikeconv::if_multistep", _fake, lib=_library)
torch.library.register_autograd("spikeconv::if_multistep", _no_gradient, lib=_library)

OPERATOR = torch.ops.spikeconv.if_multistep
