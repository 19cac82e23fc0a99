"""The definition of correct: the IF recurrence as an obvious loop in plain torch, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.ops.call import BackwardCall, Call, Population, has_time


def _charged(call: Population, v: Tensor, t: int) -> Tensor:
    """The membrane potential with step t's current, before it may fire."""
    m = v + (call.x if call.static else call.x[t]).to(v.dtype)
    if call.bias is not None:
        m = m + (call.bias[t] if has_time(call.bias, call.shape) else call.bias)
    return m


def _fires(call: Population, m: Tensor) -> Tensor:
    return m >= call.v_threshold if call.tie_fires else m > call.v_threshold


def run(call: Call) -> None:
    """Fill `call.emitted` and `call.v`."""
    theta = call.v_threshold
    amplitude = theta.to(call.x.dtype)
    v = call.v_init.expand(call.shape).clone()
    net_count = torch.zeros(call.shape, dtype=torch.int32, device=call.x.device)
    if call.count_init is not None:
        net_count += call.count_init
    if call.emit in ("words", "count"):
        call.emitted.zero_()

    for t in range(call.T):
        m = _charged(call, v, t)
        up = _fires(call, m)
        s = up.to(torch.int32)
        if call.signed:
            down = (m < 0) & (net_count > 0) & ~up
            s = s - down.to(torch.int32)
            net_count += s
        if call.hard:
            v = torch.where(s != 0, call.v_reset, m)
        else:
            v = torch.where(s > 0, m - theta, torch.where(s < 0, m + theta, m))

        if call.emit == "words":
            call.emitted.bitwise_or_(s << t)
        elif call.emit == "count":
            call.emitted.add_(s)
        elif call.emit == "psp":
            zero = torch.zeros_like(amplitude)
            call.emitted[t] = torch.where(s > 0, amplitude, torch.where(s < 0, -amplitude, zero))
        else:
            call.emitted[t] = s
        if call.return_v == "all" and call.v is not None:
            call.v[t] = v
    if call.return_v == "last" and call.v is not None:
        call.v.copy_(v)


def run_backward(call: BackwardCall) -> None:
    """Fill the gradients of a call, by the chain rule from the last step to the first.

    `carried` is the gradient of the potential that a step hands on, `grad_m` of the one before it
    fired. The surrogate's derivative h stands for ds/dm, and -h for ds/dtheta.
    """
    theta = call.v_threshold
    potentials = []
    v = call.v_init.expand(call.shape)
    for t in range(call.T):
        m = _charged(call, v, t)
        potentials.append(m)
        v = torch.where(_fires(call, m), call.v_reset if call.hard else m - theta, m)

    carried = torch.zeros_like(potentials[0])
    grad_sum, grad_threshold = torch.zeros_like(carried), torch.zeros_like(carried)
    if call.grad_v is not None and not call.trace:
        carried = carried + call.grad_v
    for t in reversed(range(call.T)):
        m = potentials[t]
        fired = _fires(call, m)
        if call.grad_v is not None and call.trace:
            carried = carried + call.grad_v[t]
        grad_emitted = torch.zeros_like(m)
        if call.grad_emitted is not None:
            grad_emitted = call.grad_emitted[t].to(m.dtype)
        grad_s = theta * grad_emitted if call.psp else grad_emitted
        if not call.detach_reset:
            grad_s = grad_s + ((call.v_reset - m) if call.hard else -theta) * carried
        if isinstance(call.surrogate, Tensor):
            h = call.surrogate[t]
        else:
            h = call.surrogate.derivative(m - theta)
        through_spike = grad_s * h
        kept = torch.where(fired, 0.0, carried) if call.hard else carried
        grad_m = kept + through_spike

        grad_threshold = grad_threshold - through_spike
        if not call.hard:
            grad_threshold = grad_threshold - torch.where(fired, carried, 0.0)
        if call.psp:
            grad_threshold = grad_threshold + torch.where(fired, grad_emitted, 0.0)
        grad_sum = grad_sum + grad_m
        if call.grad_x is not None:
            call.grad_x[t] = grad_m
        if call.grad_m is not None:
            call.grad_m[t] = grad_m
        carried = grad_m
    for wanted, gradient in (
        (call.grad_sum, grad_sum),
        (call.grad_threshold, grad_threshold),
        (call.grad_v_init, carried),
    ):
        if wanted is not None:
            wanted.copy_(gradient)
