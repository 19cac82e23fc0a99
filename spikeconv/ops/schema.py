"""The torch operator `spikeconv::if_multistep`: schema, router, fake kernel and autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.backends import check_name, resolve
from spikeconv.ops.backward import BACKWARD
from spikeconv.ops.call import Call, allocate, state_dtype
from spikeconv.ops.check import check_if_multistep, check_surrogate, check_threshold_values
from spikeconv.ops.place import beside, bias_beside

_library = torch.library.Library("spikeconv", "FRAGMENT")
_library.define(
    "if_multistep(Tensor x, Tensor v_threshold, Tensor v_init, Tensor? bias=None, "
    "Tensor? count_init=None, Tensor? slope=None, *, SymInt? T=None, str reset='soft', "
    "float v_reset=0.0, bool signed=False, str fires='ge', str emit='spikes', "
    "str? return_v='last', str? surrogate=None, float surrogate_parameter=1.0, "
    "bool detach_reset=False, str? backend=None) "
    "-> (Tensor emitted, Tensor v)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _nothing(x: Tensor) -> Tensor:
    """What the schema's second result is where v was not asked for."""
    return x.new_empty(0, dtype=state_dtype(x))


def _checked(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    count_init: Tensor | None,
    slope: Tensor | None,
    T: int | None,
    reset: str,
    v_reset: float,
    signed: bool,
    fires: str,
    emit: str,
    return_v: str | None,
    surrogate: str | None,
) -> int:
    """The number of steps, after the checks that the router and the fake kernel share."""
    steps = check_if_multistep(
        x, v_threshold, v_init, bias, count_init, T, reset, v_reset, signed, fires, emit, return_v
    )
    shape = (steps, *(x.shape if T is not None else x.shape[1:]))
    check_surrogate(x, shape, surrogate, slope, signed)
    return steps


def _route(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None = None,
    count_init: Tensor | None = None,
    slope: Tensor | None = None,
    *,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    signed: bool = False,
    fires: str = "ge",
    emit: str = "spikes",
    return_v: str | None = "last",
    surrogate: str | None = None,
    surrogate_parameter: float = 1.0,
    detach_reset: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    steps = _checked(
        x, v_threshold, v_init, bias, count_init, slope,
        T, reset, v_reset, signed, fires, emit, return_v, surrogate,
    )  # fmt: skip
    check_threshold_values(v_threshold, state_dtype(x))
    static = T is not None
    chosen = resolve(backend, x, x.dim() if static else x.dim() - 1)
    emitted, v = allocate(x, steps, static=static, signed=signed, emit=emit, return_v=return_v)
    if emitted.numel() > 0:
        dtype = state_dtype(x)
        chosen.run(
            Call(
                x=x,
                v_threshold=beside(x, v_threshold, dtype),
                v_init=beside(x, v_init, dtype),
                bias=bias_beside(x, bias, static, steps),
                count_init=None if count_init is None else beside(x, count_init, torch.int32),
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
    slope: Tensor | None = None,
    *,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    signed: bool = False,
    fires: str = "ge",
    emit: str = "spikes",
    return_v: str | None = "last",
    surrogate: str | None = None,
    surrogate_parameter: float = 1.0,
    detach_reset: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    steps = _checked(
        x, v_threshold, v_init, bias, count_init, slope,
        T, reset, v_reset, signed, fires, emit, return_v, surrogate,
    )  # fmt: skip
    check_name(backend)
    emitted, v = allocate(
        x, steps, static=T is not None, signed=signed, emit=emit, return_v=return_v
    )
    return emitted, _nothing(x) if v is None else v


def _setup_context(ctx: Any, inputs: Any, keyword_only_inputs: Any, output: Any) -> None:
    """Keep what the backward pass recomputes the potentials from: x and the parameters."""
    ctx.set_materialize_grads(False)
    ctx.options = keyword_only_inputs
    if keyword_only_inputs["surrogate"] is not None:
        x, v_threshold, v_init, bias, _, slope = inputs
        ctx.save_for_backward(x, v_threshold, v_init, bias, slope)


def _backward(ctx: Any, grad_emitted: Tensor | None, grad_v: Tensor | None) -> Any:
    options = dict(ctx.options)
    if options["surrogate"] is None:
        raise RuntimeError(
            "if_multistep has no gradient without a surrogate: a spike is a step function of its "
            "input. Give one, as in surrogate=spikeconv.surrogate.ATan(); or call it, or the "
            "spiking network, under torch.no_grad(), or detach its input"
        )
    del options["signed"]
    # The dispatcher leaves out what is None at the end.
    wanted = [*ctx.needs_input_grad, False][:4]
    gradients = BACKWARD(grad_emitted, grad_v, *ctx.saved_tensors, **options, wanted=wanted)
    given = [gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)]
    return *given, None, None


torch.library.impl("spikeconv::if_multistep", "CompositeExplicitAutograd", _route, lib=_library)
torch.library.register_fake("spikeconv::if_multistep", _fake, lib=_library)
torch.library.register_autograd(
    "spikeconv::if_multistep", _backward, setup_context=_setup_context, lib=_library
)

OPERATOR = torch.ops.spikeconv.if_multistep
