"""What a network tells about itself: spikes counted while it runs, and the report by layer."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from spikeconv import SpikingResNet
from spikeconv.convert import SpikingNetwork
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted, images


@pytest.fixture
def one_neuron() -> SpikingNetwork:
    """theta = 1, v_init = 1/2, current = image, T = 4."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    return converted(net, torch.tensor([[0.5], [1.0]]), T=4)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


def test_by_hand(one_neuron: SpikingNetwork) -> None:
    """Current 1 fires at every step; 0.6 with v = 1.1, .7, 1.3, .9 twice; -1 never: 6 of 12."""
    x = column(1, 0.6, -1)
    with one_neuron.monitor(keep_counts=True) as monitor:
        out = one_neuron(x)
    assert out.flatten().tolist() == [1, 0.5, 0]
    (name,) = one_neuron.neurons
    assert monitor.firing_rates() == {name: 0.5}
    assert monitor.firing_rate() == 0.5
    assert monitor.never_fired() == {name: 0.0}
    assert monitor.counts[name].tolist() == [[4], [2], [0]]

    report = one_neuron.report(x)
    (row,) = report.rows
    assert (report.T, report.images) == (4, 3)
    assert (row.name, row.layer, row.shape) == (name, "1", (1,))
    assert row.v_threshold == (1, 1, 1)
    assert row.v_init == (0.5, 0.5, 0.5)
    assert (row.firing_rate, row.never_fired, row.dead_channels) == (0.5, 0, 0)
    assert row.error == pytest.approx(0.1 / 1.36**0.5)  # ANN (1, .6, 0), SNN (1, .5, 0)


def test_a_fused_network_says_whose_figures_it_has() -> None:
    snn = converted(NETWORKS["plain"](), T=8, granularity="channel")
    fused = snn.fuse()
    own, before, measured = snn.report(), fused.report(), fused.report(images(3))
    assert before.before_fusing and not own.before_fusing and not measured.before_fusing
    assert before.rows == own.rows
    assert "images at T=8, before it was fused\n" in str(before)
    assert "before it was fused" not in f"{own}{measured}"


def test_report_of_the_calibration_images(one_neuron: SpikingNetwork) -> None:
    """Without images: what conversion measured, on (0.5, 1), which T = 4 has levels for."""
    report = one_neuron.report()
    (row,) = report.rows
    assert (report.images, row.firing_rate, row.error) == (2, 0.75, 0)
    assert report.settings == {
        "threshold": "max",
        "granularity": "channel",
        "v_init": "half",
        "corrections": "none",
        "signed": False,
        "calibration_images": 2,
    }
    one_neuron.report(column(0.3))
    assert one_neuron.report() is report


def test_silence(one_neuron: SpikingNetwork) -> None:
    with one_neuron.monitor() as monitor:
        one_neuron(column(-1, -2))
        one_neuron(column(0))
    assert set(monitor.firing_rates().values()) == {0.0}
    assert set(monitor.never_fired().values()) == {1.0}
    (row,) = one_neuron.report(column(-1, -2)).rows
    assert (row.never_fired, row.error) == (1, 0)


def test_figures_of_no_images_are_none(one_neuron: SpikingNetwork) -> None:
    with pytest.raises(ValueError, match=r"SpikingNetwork.report: x must have at least one image"):
        one_neuron.report(torch.zeros(0, 1))


def test_error_where_the_ann_is_silent(one_neuron: SpikingNetwork) -> None:
    """There is nothing to be relative to: 1 where spikes were fired, 0 where not."""
    next(iter(one_neuron.populations().values())).v_init.fill_(1.0)
    assert one_neuron.report(column(-0.25)).rows[0].error == 0
    assert one_neuron.report(column(0.0)).rows[0].error == 1


def test_calls_add_up(one_neuron: SpikingNetwork) -> None:
    """Over several calls, of any size and number of steps, and both readouts."""
    (name,) = one_neuron.neurons
    with one_neuron.monitor() as monitor:
        one_neuron(column(1, -1))  # 4 of 8
        one_neuron(column(1), T=8, readout="all")  # 8 of 8
        one_neuron(column(), T=3)
    assert monitor.firing_rates() == {name: 12 / 16}
    one_neuron(column(1))
    assert monitor.firing_rates() == {name: 12 / 16}


def test_counts_add_up(one_neuron: SpikingNetwork) -> None:
    """Over calls with one batch size, chunk by chunk of time."""
    (name,) = one_neuron.neurons
    with one_neuron.monitor(keep_counts=True) as monitor:
        one_neuron(column(1, -1))
        one_neuron(column(0.5, 1), T=8, readout="all")
    assert monitor.counts[name].tolist() == [[4 + 4], [0 + 8]]


def test_a_neuron_that_fired_once_has_fired() -> None:
    snn = converted(nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()), torch.eye(2), T=2)
    snn.layers[snn.program.steps[0].target].weight.copy_(torch.eye(2))
    for node in snn.populations().values():
        node.v_threshold.fill_(1)
    with snn.monitor() as monitor:
        snn(torch.tensor([[1.0, 0]]))
        assert list(monitor.never_fired().values()) == [0.5]
        snn(torch.tensor([[0, 1.0]]))
        assert list(monitor.never_fired().values()) == [0.0]


def test_monitors_nest_and_end(one_neuron: SpikingNetwork) -> None:
    """A report inside a block takes nothing from it; an error inside ends it."""
    with one_neuron.monitor() as outer:
        one_neuron(column(1))
        one_neuron.report(column(1))
        one_neuron(column(-1))
    assert outer.firing_rate() == 0.5
    with pytest.raises(ZeroDivisionError), one_neuron.monitor() as broken:
        raise ZeroDivisionError
    one_neuron(column(1))
    assert broken.firing_rates() == {} and broken.firing_rate() == 0


def test_monitoring_changes_nothing() -> None:
    for name in NETWORKS:
        for signed in (False, True):
            snn, x = converted(NETWORKS[name](), signed=signed, T=5), images(2)
            alone = snn(x)
            with snn.monitor(keep_counts=True):
                watched = snn(x)
            torch.testing.assert_close(watched, alone, rtol=0, atol=0)


@pytest.mark.parametrize("signed", (False, True))
def test_counts_are_the_network_s_activations(signed: bool) -> None:
    """theta * net count / T of the last neurons is the output of a network that ends in them."""
    snn, x = converted(NETWORKS["ends in relu"](), T=8, signed=signed), images(3)
    with snn.monitor(keep_counts=True) as monitor:
        out = snn(x)
    name, node = list(snn.populations().items())[-1]
    count = monitor.counts[name]
    assert torch.equal(count * node.v_threshold / 8, out)
    assert count.min() >= 0 and torch.equal(count, count.round())
    # Spikes of either sign count for the rate; without negative ones it is the count's.
    rate = monitor.firing_rates()[name] * 8 * count.numel()
    assert rate > count.sum() + 1 if signed else rate == pytest.approx(float(count.sum()))


def test_as_text_and_as_data() -> None:
    snn = converted(NETWORKS["residual"](), threshold="percentile", percentile=99.5, v_init=0.25)
    report = snn.report()
    text = str(report).splitlines()
    assert text[0] == "2 neuron layers; measured on 32 images at T=16"
    for setting in ("threshold=percentile 99.5", "v_init=0.25", "signed=False"):
        assert setting in text[1]
    header, *rows = text[3 : text.index("", 3)]
    for title in ("layer", "neurons", "threshold", "v_init/theta", "rate", "never fired", "error"):
        assert title in header
    assert len(rows) == len(report.rows) == 2
    for line, row in zip(rows, report.rows, strict=True):
        assert line.startswith(row.layer)
        for figure in ("4x8x8", "0.25", f"{row.firing_rate:.3f}", f"{row.error:.3f}", "%"):
            assert figure in line
    data = json.loads(json.dumps(report.to_dict()))
    assert data["T"] == 16 and data["images"] == 32
    assert data["rows"][0]["shape"] == [4, 8, 8]
    assert data["rows"][1]["error"] == report.rows[1].error


def test_thresholds_per_channel_and_dead_channels_are_told() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU())
    with torch.no_grad():
        net[0].weight[1].zero_()
        net[0].bias[1] = -1
    report = converted(net).report()
    (row,) = report.rows
    assert row.dead_channels == 1
    assert row.v_threshold[0] < row.v_threshold[1] < row.v_threshold[2]
    assert "1 channel was never active in calibration" in str(report).splitlines()
    assert row.never_fired >= 1 / 3


def test_a_network_made_without_images_says_how_to_measure_it() -> None:
    snn = SpikingResNet.from_pretrained("resnet20-cifar10-qcfs", T=2)
    text = str(snn.report())
    assert text.startswith("19 neuron layers; not measured: report(x) measures on images x\n")
    assert "nan" not in text
    row = json.loads(json.dumps(snn.report().to_dict(), allow_nan=False))["rows"][0]
    assert [row[name] for name in ("firing_rate", "never_fired", "error")] == [None] * 3
    assert "; measured on 1 image at T=2\n" in str(snn.report(torch.rand(1, 3, 32, 32)))


def test_what_is_no_monitor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be what monitor\(\) gave, got NoneType"):
        converted(NETWORKS["residual"](), T=4).operations(None)  # type: ignore[arg-type]
