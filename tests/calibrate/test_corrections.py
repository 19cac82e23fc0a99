"""Corrections: small cases by hand, and the promise of each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikeconv.calibrate.bias_correction import bias_correction
from spikeconv.calibrate.correct import CORRECTION_NAMES, check_corrections
from spikeconv.calibrate.potential_correction import channel_potential, neuron_potential
from spikeconv.calibrate.rts import rts
from spikeconv.calibrate.sample import ChannelSample, LayerSample
from spikeconv.calibrate.search import search, spans
from spikeconv.calibrate.step_bias import step_bias
from spikeconv.calibrate.weights import refit
from spikeconv.convert import convert
from spikeconv.neuron import IFNode

# One channel, one image, two steps; the ANN has 1/2 and a current of 1/4 never fires from 0.
SAMPLE = LayerSample.of(torch.full((2, 1, 1), 0.25), torch.full((1, 1), 0.5))


def test_rts_spreads_half_a_threshold_over_all_steps():
    node = rts(IFNode(torch.tensor([2.0])), SAMPLE)
    assert node.bias is not None and node.bias.tolist() == [0.5]  # 2 / (2 * 2)


def test_bias_correction_is_the_mean_error():
    node = bias_correction(IFNode(torch.tensor([1.0])), SAMPLE)
    assert node.bias is not None and node.bias.tolist() == [0.5]
    assert SAMPLE.error(node).tolist() == [0.0]  # 1.5 in two steps: one spike


@pytest.mark.parametrize("correction", [neuron_potential, channel_potential])
def test_potential_correction_is_the_charge_that_is_missing(correction):
    node = correction(IFNode(torch.tensor([1.0])), SAMPLE)
    assert node.v_init.tolist() == [1.0]  # T * 1/2
    assert SAMPLE.error(node).tolist() == [0.0]


def test_potentials_of_neurons_and_of_channels():
    """Two channels of two neurons, two images, T = 2, theta 1 from 0; no current, so no spike.

    The ANN's means over images are (1/4, 3/4) and (1/2, 1/2): times T, for each or their mean.
    """
    activation = torch.tensor([[[0.0, 1.0], [0.5, 0.25]], [[0.5, 0.5], [0.5, 0.75]]])
    sample = LayerSample.of(torch.zeros(2, 2, 2, 2), activation)
    node = IFNode(torch.ones(2, 1), torch.full((2, 1), 0.25))
    each = neuron_potential(node, sample)
    assert each.v_init.tolist() == [[0.75, 1.75], [1.25, 1.25]]
    assert channel_potential(node, sample).v_init.tolist() == [[1.25], [1.25]]


def test_corrections_add_up():
    """A bias or a potential that is there is corrected, not replaced."""
    node = IFNode(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([0.25]))
    assert SAMPLE.error(node).tolist() == [0.5]  # 1.5 is quiet, 2 fires: 2 / T - 1/2
    for correction in (rts, bias_correction):
        after = correction(node, SAMPLE)
        assert after.bias is not None and after.v_init.tolist() == [1.0]
        assert after.bias.tolist() == [{rts: 0.75, bias_correction: -0.25}[correction]]
    after = channel_potential(node, SAMPLE)
    assert after.bias is not None
    assert (after.v_init.tolist(), after.bias.tolist()) == ([0.0], [0.25])


def test_rts_in_all_is_half_a_threshold():
    """T theta / 2T, for each channel; the potential stays."""
    x = torch.rand(8, 32, 3, generator=torch.Generator().manual_seed(0)).mul(16).round() / 16
    sample = LayerSample.of(x, x.mean(0))
    shifted = rts(IFNode(torch.tensor([0.5, 1.0, 2.0])), sample)
    assert shifted.bias is not None
    assert (8 * shifted.bias).tolist() == [0.25, 0.5, 1.0]
    assert shifted.v_init.tolist() == 0


def test_step_bias_approaches_the_bias_that_is_wanted():
    """Potentials even in (0, 1), theta 1, no current: a bias b lets a share b of them fire.

    The ANN has 1/2, so b = 1/2, at every step: eight passes leave 1/2^8 of the way and a neuron.
    """
    start = (torch.arange(64) + 0.5).view(1, 64) / 64
    sample = LayerSample.of(torch.zeros(3, 2, 1, 64), torch.full((2, 1, 64), 0.5))
    after = step_bias(IFNode(torch.ones(1, 1), start), sample)
    assert after.step_bias is not None and after.step_bias.shape == (3, 1, 1)
    assert bool(((after.step_bias - 0.5).abs() < 1 / 256 + 1 / 64).all())
    psp, _ = after.run(torch.zeros(3, 2, 1, 64), emit="psp")
    assert bool(((psp.mean((1, 2, 3)) - 0.5).abs() <= 1 / 32).all())


def test_step_bias_lowers_the_mean_error_of_every_step():
    x = torch.rand(4, 64, 3, generator=torch.Generator().manual_seed(0))
    sample = LayerSample.of(x, x.mean(0))
    before = IFNode(torch.ones(3))
    after = step_bias(before, sample)
    assert after.step_bias is not None and after.step_bias.shape == (4, 3)
    assert sample.error(after).abs().mean() < sample.error(before).abs().mean()


def test_search_finds_the_start_that_makes_a_spike_due():
    found = search(IFNode(torch.tensor([1.0])), SAMPLE)
    assert abs(sample_error(found)) < 0.5 == abs(sample_error(IFNode(torch.tensor([1.0]))))


def sample_error(node: IFNode) -> float:
    return SAMPLE.error(node).item()


@pytest.mark.parametrize("signed", [False, True])
def test_search_makes_no_channel_worse(signed):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 8, 5, 3, 3, generator=generator)
    sample = LayerSample.of(x, x.mean(0).clamp(min=0))
    before = IFNode(torch.full((5, 1, 1), 1.0), torch.full((5, 1, 1), 0.5), signed=signed)
    after = search(before, sample)
    neurons = ChannelSample.of(sample, signed)

    def error(node: IFNode) -> torch.Tensor:
        theta = node.v_threshold.flatten()
        bias = torch.zeros(4, 5) if node.step_bias is None else node.step_bias.view(4, 5) / theta
        return neurons.error(theta, node.v_init.flatten() / theta, bias)

    assert bool((error(after) <= error(before) * (1 + 1e-5)).all())
    assert error(after).sum() < error(before).sum()


def test_spans_cover_every_step_once():
    for T in (1, 3, 8, 9, 16, 33, 64):
        assert [t for s in spans(T) for t in range(*s.indices(T))] == list(range(T))


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Linear(6, 4), (64, 6)),
        (nn.Conv1d(3, 4, 3, stride=2, padding=1), (16, 3, 9)),
        (nn.Conv2d(3, 4, 3, padding="same", bias=False), (16, 3, 6, 6)),
        (
            nn.Conv2d(4, 8, 3, groups=2, dilation=2, padding_mode="reflect", padding=2),
            (16, 4, 7, 7),
        ),
        (nn.Conv2d(4, 4, 3, groups=4), (16, 4, 6, 6)),
    ],
)
def test_refit_finds_the_change_that_is_missing(layer, shape):
    torch.manual_seed(0)
    x = torch.rand(shape)
    with torch.no_grad():
        wanted = type(layer).__call__(layer, x) * 1.5 + 0.25
        missing = wanted - layer(x)
        new = refit(layer, x, missing)
        left = (wanted - new(x)).norm() / missing.norm()
    assert new is not layer and left < 0.2


def test_refit_leaves_alone_what_is_right():
    layer = nn.Linear(3, 2)
    assert refit(layer, torch.rand(16, 3), torch.zeros(16, 2)) is layer
    assert refit(layer, torch.rand(2, 3), torch.ones(2, 2)) is layer  # no image to hold out


def test_names():
    assert check_corrections(["bias", "weights"]) == ("bias", "weights")
    with pytest.raises(ValueError, match="corrections must be among"):
        check_corrections(["none of them"])
    with pytest.raises(ValueError, match="must be different ones, got 'bias' twice"):
        check_corrections(["bias", "rts", "bias"])
    with pytest.raises(TypeError, match="sequence of names"):
        check_corrections("bias")


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(96, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip


@pytest.mark.parametrize("name", CORRECTION_NAMES)
@pytest.mark.parametrize("signed", [False, True])
def test_every_correction_converts_a_network(name, signed):
    ann, x = net(), torch.rand(48, 1, 8, 8)
    before = [p.clone() for p in ann.parameters()]
    snn = convert(ann, x, T=4, corrections=(name,), signed=signed, progress=False)
    assert bool(torch.isfinite(snn(x)).all())
    assert all(map(torch.equal, ann.parameters(), before))
    torch.testing.assert_close(snn.analog(x), ann(x))
    assert snn.report().settings["corrections"] == name


def test_best_keeps_the_nearest_and_says_so():
    ann, x = net(), torch.rand(128, 1, 8, 8)
    snn = convert(ann, x, T=4, progress=False)
    tried = snn.report().tried
    assert len(tried) == 3 and [t.error for t in tried] == sorted(t.error for t in tried)
    assert "the first was kept" in str(snn.report())
    pinned = convert(ann, x, T=4, method="opi", progress=False)
    assert pinned.report().tried == () and pinned.report().settings["corrections"] == "none"
    with pytest.raises(ValueError, match="method must be one of 'best', 'opi'"):
        convert(ann, x, method="fastest", progress=False)
