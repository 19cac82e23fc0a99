"""The definition of correct: the IF recurrence as an obvious loop in plain torch, on any device."""

from __future__ import annotations

import torch

from spikeconv.ops.call import Call, has_time


def run(call: Call) -> None:
    """Fill `call.emitted` and `call.v`."""
    theta = call.v_threshold
    amplitude = theta.to(call.x.dtype)
    v = call.v_init.expand(call.shape).clone()
    timed_bias = call.bias is not None and has_time(call.bias, call.shape)
    net_count = torch.zeros(call.shape, dtype=torch.int32, device=call.x.device)
    if call.count_init is not None:
        net_count += call.count_init
    if call.emit in ("words", "count"):
        call.emitted.zero_()

    for t in range(call.T):
        m = v + (call.x if call.static else call.x[t]).to(v.dtype)
        if call.bias is not None:
            m = m + (call.bias[t] if timed_bias else call.bias)
        up = m >= theta if call.tie_fires else m > theta
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
