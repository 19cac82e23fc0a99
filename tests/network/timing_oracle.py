"""SRP, COS and the delay written out: layer by layer, a step at a time, a neuron at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeconv.convert import SpikingNetwork
from spikeconv.network.program import INPUT, Phase, fill
from spikeconv.network.run_step import run_step
from spikeconv.network.structure import map_tensors
from spikeconv.neuron import IFNode

Masks = dict[str, Tensor]


def _life(x: Any, theta: Any, v: Any, signed: bool) -> Iterator[tuple[int, Any, Any]]:
    """(spike, potential before the reset, after it) of one neuron at each step."""
    net = 0
    for current in x:
        m = v + current
        spike = 1 if m >= theta else -1 if signed and m < 0 and net > 0 else 0
        net += spike
        v = m - theta if spike == 1 else m + theta if spike == -1 else m
        yield spike, m, v


def _start(x: Any, theta: Any, v_init: Any, signed: bool) -> Any:
    """COS, as spikeconv/calibrate/cos.py states it, with theta where the paper has 1."""
    steps = list(_life(x, theta, v_init, signed))
    fire = [m for spike, m, _ in steps if spike == 1]
    quiet = [m for spike, m, _ in steps if spike != 1]
    end = steps[-1][2]
    if end < 0 and sum(spike for spike, _, _ in steps) > 0:
        return v_init - max(theta, min(fire) - np.float32(0.999) * theta)
    if end >= theta and quiet:
        return v_init + max(theta, np.float32(1.001) * theta - max(quiet))
    return v_init


def _population(
    node: IFNode, currents: list[Tensor], cos: int, silent: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """PSPs of every step and the last potential."""
    x = torch.stack(currents).numpy()
    theta, v_init = (
        np.broadcast_to(p.numpy(), x.shape[1:]) for p in (node.v_threshold, node.v_init)
    )
    psps, last = np.zeros_like(x), np.zeros_like(x[0])
    for i in np.ndindex(x.shape[1:]):
        own = x[(slice(None), *i)]
        start = _start(own[:cos], theta[i], v_init[i], node.signed) if cos else v_init[i]
        for t, (spike, _, v) in enumerate(_life(own, theta[i], start, node.signed)):
            if silent is None or not silent[i]:
                psps[(t, *i)] = spike * theta[i]
            last[i] = v
    return list(torch.from_numpy(psps)), torch.from_numpy(last)


def run_stage(
    snn: SpikingNetwork, x: Tensor, steps: int, cos: int, silent: Masks
) -> tuple[dict[str, Any], Masks]:
    """What the readout reads, a list over time for temporal values, and the last potentials."""
    values: dict[str, Any] = {INPUT: x}
    last: Masks = {}
    temporal = {step.name for step in snn.program.phase(Phase.TEMPORAL)}

    def at(t: int) -> Any:
        return lambda name: values[name][t] if name in temporal else values[name]

    for step in snn.program.steps:
        name = step.name
        if step.kind == "constant":
            values[name] = snn.weights()[step.target]
        elif step.kind == "neuron":
            currents = [fill(step.args, at(t))[0] for t in range(steps)]
            node = snn.populations()[name]
            values[name], last[name] = _population(node, currents, cos, silent.get(name))
        elif step.kind == "max_pool" and name in temporal:
            trains = torch.stack([fill(step.args, at(t))[0] for t in range(steps)])
            pooled = [snn.layers[step.target](total) for total in trains.cumsum(0)]
            before = [torch.zeros_like(pooled[0]), *pooled[:-1]]
            values[name] = [now - then for now, then in zip(pooled, before, strict=True)]
        elif name in temporal:
            values[name] = [
                run_step(step, snn.layers, fill(step.args, at(t)), fill(step.kwargs, at(t)))
                for t in range(steps)
            ]
        elif step.phase is not Phase.READOUT:
            args, kwargs = fill(step.args, at(0)), fill(step.kwargs, at(0))
            values[name] = run_step(step, snn.layers, args, kwargs)
    return values, last


def read_out(snn: SpikingNetwork, values: dict[str, Any], first: int, last: int) -> Any:
    """The output on the mean of steps first + 1 .. last."""
    means = dict(values)
    for name in snn.program.boundary:
        means[name] = sum(values[name][first:last]) / (last - first)
    for step in snn.program.phase(Phase.READOUT):
        args, kwargs = fill(step.args, means.get), fill(step.kwargs, means.get)
        means[step.name] = run_step(step, snn.layers, args, kwargs)
    return fill(snn.program.output, means.get)


def every_step(
    snn: SpikingNetwork, x: Tensor, T: int, *, delay: int = 0, srp: int = 0, cos: int = 0
) -> list[tuple[int, Any]]:
    """After each of T steps: how many steps the answer is the mean of, and the answer."""
    rows: list[tuple[int, Any]] = []
    silent: Masks = {}
    if srp:
        values, v = run_stage(snn, x, srp, 0, silent)
        rows += [(t, read_out(snn, values, 0, t)) for t in range(1, srp + 1)]
        for name, potential in v.items():
            theta = snn.populations()[name].v_threshold
            silent[name] = (potential > 1e-3 * theta).logical_not()
    if cos:
        values, _ = run_stage(snn, x, cos, 0, silent)
        rows += [(t, read_out(snn, values, 0, t)) for t in range(1, cos + 1)]
    steps = T - srp - cos
    values, _ = run_stage(snn, x, steps, min(cos, steps), silent)
    for t in range(1, steps + 1):
        first = delay if t > delay else 0
        rows.append((t - first, read_out(snn, values, first, t)))
    return rows


def stacked(rows: list[tuple[int, Any]], powers_only: bool) -> tuple[list[int], Any]:
    """Rows as one output ``[rows, B, *]`` and their indices; of powers of two, means are exact."""
    kept = [i for i, (n, _) in enumerate(rows) if not powers_only or n & (n - 1) == 0]
    return kept, map_tensors(lambda *ys: torch.stack(ys), *(rows[i][1] for i in kept))
