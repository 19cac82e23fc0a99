"""Synaptic operations: cases worked out by hand, what adds up, and how they are told."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.network.operations import AC_JOULE, MAC_JOULE, LayerOperations, Operations
from spikeconv.network.program import Phase
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, converted, images


class Firing(nn.Module):
    """An identity, then a ReLU, that a test makes fire where it wants; then what is tested."""

    def __init__(self, channels: int, *layers: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        nn.init.ones_(self.first.weight)
        self.relu = nn.ReLU()
        self.rest = nn.Sequential(*layers, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.relu(self.first(x)))


def firing(net: nn.Module, x: Tensor, T: int = 4, **options: object) -> Operations:
    """What is counted where the first neurons, theta = 1, fire at every step for a pixel of 1."""
    snn = converted(net, x, T=T, **options)
    first = next(iter(snn.populations().values()))
    first.v_threshold.fill_(1)
    first.v_init.fill_(0.5)
    with snn.monitor() as monitor:
        snn(x)
    return snn.operations(monitor)


def row(operations: Operations, layer: str) -> LayerOperations:
    return next(row for row in operations.rows if row.layer == layer)


def test_convolution_with_padding_and_stride_by_hand() -> None:
    """3 x 3, padding 1, stride 2 on 4 x 4: outputs at 0 and 2 see pixels -1..1 and 1..3.

    So along each side pixels 0, 1, 2, 3 reach 1, 2, 1, 1 outputs; there are 5 output channels.
    """
    x = torch.zeros(1, 2, 4, 4)
    x[0, 0, 0, 0] = x[0, 1, 1, 1] = x[0, 1, 1, 3] = 1  # fan-out 1 * 1, 2 * 2, 2 * 1, times 5
    operations = firing(Firing(2, nn.Conv2d(2, 5, 3, 2, 1)), x)
    found = row(operations, "rest.0")
    assert found.spikes == 4 * 3
    assert found.accumulates == 4 * 5 * (1 + 4 + 2)
    assert found.macs == 0
    # The ANN multiplies every pixel of 2 channels: (1 + 2 + 1 + 1)^2 times 5.
    assert found.ann_macs == 2 * 25 * 5


def test_groups_by_hand() -> None:
    """Depthwise, two outputs a channel, without padding: a corner reaches 1, the centre all 9."""
    x = torch.zeros(1, 3, 5, 5)
    x[0, 0, 0, 0] = x[0, 2, 2, 2] = 1
    found = row(firing(Firing(3, nn.Conv2d(3, 6, 3, groups=3)), x), "rest.0")
    assert (found.spikes, found.accumulates) == (8, 4 * 2 * (1 + 9))
    assert found.ann_macs == 6 * 9 * 9


def test_linear_by_hand() -> None:
    """Two images, of which one fires at 3 pixels and the other at one, each reaching 7 outputs."""
    x = torch.zeros(2, 1, 2, 2)
    x[0, 0, 0, 0] = x[0, 0, 0, 1] = x[0, 0, 1, 1] = x[1, 0, 0, 0] = 1
    operations = firing(Firing(1, nn.Flatten(), nn.Linear(4, 7)), x, T=3)
    found = row(operations, "rest.1")
    assert (found.spikes, found.accumulates, found.ann_macs) == (12, 12 * 7, 2 * 28)
    assert row(operations, "first") == LayerOperations("first", "static", 0, 0, 2 * 4, 2 * 4)
    assert operations.images == 2
    assert operations.accumulates == 42  # of one image
    assert operations.updates == 2 * 3 * (4 + 7)


def test_pooled_spikes_by_hand() -> None:
    """Three of four pixels of a window fire: three spikes a step reach the layer behind the pool.

    With windows of 3 that move by 1, on 4 x 4, the pixel in the middle lies in 4 of them.
    """
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = x[0, 0, 0, 1] = x[0, 0, 1, 1] = 1
    apart = firing(Firing(1, nn.AvgPool2d(2), nn.Conv2d(1, 2, 1)), x)
    assert row(apart, "rest.1").spikes == 4 * 3
    assert row(apart, "rest.1").accumulates == 4 * 3 * 2
    overlapping = firing(Firing(1, nn.AvgPool2d(3, 1), nn.Conv2d(1, 2, 1)), x)
    assert row(overlapping, "rest.1").spikes == 4 * (1 + 2 + 4)


@pytest.mark.parametrize("fill", (0.0, -math.inf))
def test_masked_spikes_by_hand(fill: float) -> None:
    """Of two pixels that fire, a mask lets one through; what it fills in is no spike."""
    mask = torch.zeros(2, 2, dtype=torch.bool)
    mask[0] = True

    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.masked_fill(mask, fill)[..., 1:, :]

    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, :, 0] = 1
    found = row(firing(Firing(1, Masked(), nn.Conv2d(1, 3, 1)), x), "rest.1")
    assert (found.spikes, found.accumulates, found.macs) == (4, 12, 0)


def test_residual_by_hand() -> None:
    """A spike of either operand of an addition reaches the layer behind it."""

    def body(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.same(x))
        return net.head(F.relu(net.c2(h + F.relu(net.same(x) - 0.5))))

    same = nn.Conv2d(4, 4, 1, groups=4, bias=False)
    nn.init.ones_(same.weight)
    x = torch.zeros(1, 4, 8, 8)
    x[0, 0, 4, 4] = 1
    snn = converted(Net(body, same=same), x, T=4)
    for node in list(snn.populations().values())[:2]:
        node.v_threshold.fill_(1)
        node.v_init.fill_(0.5)
    with snn.monitor() as monitor:
        snn(x)  # 4 spikes for the current 1, 2 for 0.5
    found = row(snn.operations(monitor), "c2")
    assert (found.spikes, found.accumulates) == (6, 6 * 9 * 4)


def test_signed_spikes_by_hand() -> None:
    """0.75 and, from the second step on, -0.25 less: a spike that is taken back counts twice."""
    snn = converted(Firing(1, nn.Flatten(), nn.Linear(1, 5)), torch.ones(1, 1, 1, 1), signed=True)
    node = next(iter(snn.populations().values())).replaced(
        v_threshold=1.0,
        v_init=0.5,
        step_bias=torch.tensor([[[[0.0]]], [[[-2.0]]]]).view(2, 1, 1, 1),
    )
    snn.neurons[next(iter(snn.neurons))] = node
    with snn.monitor() as monitor:
        snn(torch.full((1, 1, 1, 1), 0.75), T=2)  # 1.25 fires; 0.25 + 0.75 - 2 = -1 takes it back
    found = row(snn.operations(monitor), "rest.1")
    assert (found.spikes, found.accumulates) == (2, 10)


def test_what_is_no_spike_counts_as_macs() -> None:
    """A layer behind a layer reads currents: MACs at each step. What is static beside it: once."""

    def body(net: Net, x: Tensor) -> Tensor:
        static = net.c1(x)
        both = torch.cat([F.relu(static), static], 1)
        return F.relu(net.second(net.wide(both)))

    wide, second = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 2, 1)
    snn, x = converted(Net(body, wide=wide, second=second), T=5), images(2)
    with snn.monitor() as monitor:
        snn(x)
    operations = snn.operations(monitor)
    found = row(operations, "wide")
    assert found.macs == 2 * 4 * 64 * 3
    assert found.accumulates == found.spikes * 3 == sum(monitor_spikes(monitor)[:1]) * 3
    assert row(operations, "second") == LayerOperations(
        "second", "temporal", 0, 0, 5 * 2 * 3 * 64 * 2, 2 * 3 * 64 * 2
    )


def monitor_spikes(monitor: object) -> list[int]:
    return [spikes for spikes, _ in monitor.totals().values()]  # type: ignore[attr-defined]


def test_every_spike_at_every_step_is_the_ann() -> None:
    """Where all neurons fire at T = 1, accumulations and MACs of layers are those of the ANN."""
    snn, x = converted(NETWORKS["plain"](), T=1), images(3)
    for node in snn.populations().values():
        node.v_init.fill_(1e6)
    with snn.monitor() as monitor:
        snn(x)
    operations = snn.operations(monitor)
    for found in operations.rows:
        assert found.accumulates + found.macs == found.ann_macs
    # c1 and c2, without the zeros of their padding: 8 pixels a side reach 22 of 24 places.
    assert [row.ann_macs for row in operations.rows] == [3 * 22**2 * 8, 3 * 22**2 * 16, 3 * 12]


def test_function_forms_count_alike() -> None:
    """A convolution or a product of matrices whose weights are parameters."""
    layer, matrix = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3, bias=False)

    def layers(net: Net, x: Tensor) -> Tensor:
        h = F.relu(net.inner(F.relu(net.c1(x))))
        return F.relu(net.outer(h.mean((2, 3))))

    def functions(net: Net, x: Tensor) -> Tensor:
        h = F.relu(F.conv2d(F.relu(net.c1(x)), net.inner.weight, net.inner.bias, 1, 1))
        return F.relu(h.mean((2, 3)) @ net.outer.weight.t())

    found = []
    c1, x = nn.Conv2d(2, 4, 3, padding=1), images(16)
    for body in (layers, functions):
        net = Net(body, inner=layer, outer=matrix)
        net.c1 = c1
        snn = converted(net, x, T=4)
        with snn.monitor() as monitor:
            snn(x)
        operations = snn.operations(monitor)
        found.append(
            [
                (row.phase, row.spikes, row.accumulates, row.macs, row.ann_macs)
                for row in operations.rows
            ]
        )
    assert found[0] == found[1]
    assert found[0][1][2] > 0


def test_images_of_two_sizes_add_up() -> None:
    snn = converted(NETWORKS["plain"](), T=3)
    small, large = images(2), images(1, 2, 12, 12)
    parts = []
    for x in (small, large):
        with snn.monitor() as monitor:
            snn(x)
        parts.append(snn.operations(monitor))
    with snn.monitor() as monitor:
        snn(small)
        snn(large)
    both = snn.operations(monitor)
    assert both.images == 3
    assert both.updates == sum(part.updates for part in parts)
    for found, *others in zip(both.rows, *(part.rows for part in parts), strict=True):
        assert found.accumulates == sum(other.accumulates for other in others)
        assert found.ann_macs == sum(other.ann_macs for other in others)


def test_spikes_that_are_not_sent_on_are_no_operations() -> None:
    """COS looks at its steps within each layer: what fires there fires for nobody."""
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0, 0] = 1
    found = row(firing(Firing(1, nn.Conv2d(1, 2, 1)), x, T=6, cos=2), "rest.0")
    assert found.spikes == 4


def test_energy_by_hand_and_as_text() -> None:
    assert (AC_JOULE, MAC_JOULE) == (0.9e-12, 4.6e-12)
    rows = (
        LayerOperations("stem", "static", 0, 0, 2000, 2000),
        LayerOperations("body", "temporal", 20, 1000, 0, 6000),
    )
    operations = Operations(rows, images=2, updates=100)
    assert operations.energy == pytest.approx(500 * 0.9e-12 + 1000 * 4.6e-12)
    assert operations.ann_energy == pytest.approx(4000 * 4.6e-12)
    summary = operations.summary()
    for text in ("500 accumulations", "1 k MACs, the ANN 4 k MACs", "5.05 nJ, ANN 18.4 nJ"):
        assert text in summary
    assert "Horowitz, ISSCC 2014" in summary
    table = str(operations).splitlines()
    assert table[1].split() == ["stem", "once", "0", "0", "1", "k", "1", "k"]
    assert table[-1] == "not in it: memory, 50 updates of neurons, biases"
    data = json.loads(json.dumps(operations.to_dict()))
    assert data["accumulates"] == 500 and data["layers"][1]["spikes"] == 10
    nothing = Operations(rows, 0, 0)
    assert nothing.energy == 0 and math.isfinite(nothing.ann_energy)


def test_processes_add_up() -> None:
    rows = (
        LayerOperations("stem", "static", 1, 2, 3, 4),
        LayerOperations("fc", "readout", 5, 6, 7, 8),
    )
    twice = Operations(rows, 9, 10).added_up(lambda numbers: 2 * numbers)
    assert twice == Operations(
        (
            LayerOperations("stem", "static", 2, 4, 6, 8),
            LayerOperations("fc", "readout", 10, 12, 14, 16),
        ),
        18,
        20,
    )


def test_the_report_has_them() -> None:
    snn = converted(NETWORKS["residual"](), T=4)
    report = snn.report(images(3))
    assert report.operations is not None and report.operations.images == 3
    assert report.operations.summary() in str(report)
    data = json.loads(json.dumps(report.to_dict()))
    assert data["operations"]["accumulates"] == report.operations.accumulates
    assert snn.report().operations is not None  # measured on calibration images
    assert {row.phase for row in report.operations.rows} == {
        phase.value for phase in list(Phase)[1:]
    }
