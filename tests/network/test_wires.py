"""Every spike is counted on its own path: networks against the Jacobians of their wires."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork
from spikeconv.network.program import fill
from spikeconv.network.run_step import run_step
from tests.convert.bodies import NETWORKS
from tests.convert.nets import between, converted, images
from tests.network.test_operations import row


def by_paths(snn: SpikingNetwork, x: Tensor, layer: str) -> float:
    """Accumulations of a layer whose input is wired to neurons only, by their spikes' Jacobians.

    Of every neuron, the places that its output reaches, times the weights that read each place.
    """
    with snn.monitor(keep_counts=True) as monitor:
        snn(x)
    spikes = {
        name: tally.sent.double()
        for seen in monitor.seen.values()
        for name, tally in seen.tallies.items()
        if tally.sent is not None
    }
    target = next(step for step in snn.program.steps if step.label == layer)

    def before(*outputs: Tensor) -> Tensor:
        """What the layer reads, from the neurons' outputs."""
        values = snn.program.bind(x[:1])
        replaced = dict(zip(spikes, outputs, strict=True))
        for step in snn.program.steps:
            if step is target:
                return values[step.args[0].name]
            if step.kind == "constant":
                values[step.name] = snn.weights()[step.target]
            elif step.kind == "neuron":
                values[step.name] = replaced[step.name]
            else:
                args = fill(step.args, values.__getitem__)
                kwargs = fill(step.kwargs, values.__getitem__)
                values[step.name] = run_step(step, snn.layers, args, kwargs)
        raise AssertionError(layer)

    zeros = tuple(torch.zeros(1, *count.shape) for count in spikes.values())
    read = before(*zeros)
    weight = snn.layers[target.target]
    one = torch.zeros_like(read).requires_grad_(True)
    ones = {
        name: torch.ones_like(p) if p.dim() > 1 else torch.zeros_like(p)
        for name, p in weight.named_parameters()
    }
    fan_out = torch.autograd.grad(torch.func.functional_call(weight, ones, (one,)).sum(), one)[0]
    total = 0.0
    for count, jacobian in zip(
        spikes.values(), torch.autograd.functional.jacobian(before, zeros), strict=True
    ):
        paths = (jacobian.flatten(read.dim()).flatten(0, read.dim() - 1) != 0).double()
        total += float(fan_out.flatten().double() @ paths @ count.flatten())
    return total


WIRES = {
    "average": lambda h: F.avg_pool2d(h, 2),
    "overlapping average": lambda h: F.avg_pool2d(h, 3, 2, 1, True, False),
    "pool module": nn.AvgPool2d((3, 2), (2, 1), (1, 0)),
    "adaptive average": lambda h: F.adaptive_avg_pool2d(h, (3, 5)),
    "adaptive module": nn.AdaptiveAvgPool2d((None, 3)),
    "mean": lambda h: h.mean(2, keepdim=True),
    "sum": lambda h: h.sum((2,), keepdim=True),
    "flip and pad": lambda h: F.pad(h.flip(3), (1, 2, 0, 1), value=3.0),
    "reflect": nn.ReflectionPad2d(2),
    "circular": lambda h: F.pad(h, (1, 1, 1, 1), mode="circular"),
    "scale": lambda h: -(2 * h) / 3,
    "scale and shift": lambda h: 1 - h * 0.5,
    "batch norm": nn.BatchNorm2d(4),
    "parts": lambda h: torch.cat([h.chunk(2, 1)[1], h[:, :2]], 1),
    "subtract a roll": lambda h: h - h.roll(1, 3),
    "transposed": lambda h: h.transpose(2, 3).contiguous(),
    "shuffle": lambda h: F.pixel_unshuffle(F.pixel_shuffle(h, 2), 2),
    "one-dimensional average": lambda h: F.avg_pool1d(h.flatten(2), 3, 2, 1).unsqueeze(3),
    "one-dimensional adaptive": lambda h: F.adaptive_avg_pool1d(h.flatten(2), 7).unsqueeze(3),
    "cumulative": lambda h: h.cumsum(3),
    "nearest": lambda h: F.interpolate(h[..., ::2], 8),
    "nearest by position": lambda h: F.interpolate(h, None, 1.5, "nearest-exact"),
    "nearest module": nn.Upsample(scale_factor=2),
}


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("reads", ["padded", "transposed"])
def test_wires_lead_each_spike_on_its_own_path(name: str, reads: str) -> None:
    layers = {
        "padded": nn.Conv2d(4, 6, 3, 2, 1, groups=2),
        "transposed": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1),
    }
    wire = WIRES[name]
    net = between(wire) if not isinstance(wire, nn.Module) else between(lambda h: h)
    net.c2 = layers[reads]
    if isinstance(wire, nn.Module):
        net.wire = wire
        net.body = lambda s, x: s.head(F.relu(s.c2(s.wire(F.relu(s.c1(x))))))
    net.fc = nn.Linear(6, 3)
    snn, x = converted(net, T=3), images(2)
    with snn.monitor() as monitor:
        snn(x)
    found = row(snn.operations(monitor), "c2")
    assert found.macs == 0 and found.accumulates > 0
    assert found.accumulates == by_paths(snn, x, "c2")


@pytest.mark.parametrize("name", ["plain", "residual", "pool before", "capped", "branches"])
def test_networks_against_their_paths(name: str) -> None:
    snn, x = converted(NETWORKS[name](), T=4), images(2)
    with snn.monitor() as monitor:
        snn(x)
    operations = snn.operations(monitor)
    temporal = [row for row in operations.rows if row.phase == "temporal"]
    assert temporal
    for found in temporal:
        assert found.accumulates == by_paths(snn, x, found.layer)
