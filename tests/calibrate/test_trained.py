"""Trained bounds as thresholds: of a clip and of a quantised activation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from spikeconv import if_multistep
from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate import THRESHOLDS, ChannelHistogram, thresholds
from spikeconv.calibrate.qcfs import qcfs
from spikeconv.calibrate.tcl import tcl
from tests.calibrate.layers import layer
from tests.convert.nets import converted, images

# A channel that is often clipped, one that never is, one that is never active.
CURRENTS = torch.tensor([[1.0, 0.1, -1], [9.0, 0.2, -3], [-4.0, 0.3, 0]])
GIVEN = {"T": 4, "start": 0.5, "percent": 99.9}


def histogram(cap: float) -> ChannelHistogram:
    result = ChannelHistogram(3)
    result.update(CURRENTS.clamp(max=cap))
    return result


@pytest.mark.parametrize("name", ("tcl", "qcfs"))
@pytest.mark.parametrize("bound", (0.25, 1.5, 20.0))
def test_the_bound_is_the_threshold(name: str, bound: float) -> None:
    """Whatever the currents, for every channel, dead ones too, and for the layer."""
    options: Any = {**GIVEN, "threshold": name, "cap": bound, "levels": 8}
    theta, dead = thresholds(histogram(bound), granularity="channel", **options)
    assert theta.tolist() == [bound] * 3 and theta.dtype == torch.float32 and dead == 1
    whole, dead = thresholds(histogram(bound), granularity="layer", **options)
    assert whole.tolist() == [bound] and dead == 1
    silent = ChannelHistogram(2)
    silent.update(-torch.ones(3, 2))
    assert thresholds(silent, granularity="channel", **options)[0].tolist() == [bound] * 2


@pytest.mark.parametrize("bound", (0.7, 2.0))
def test_tcl_is_what_clip_cuts_at(bound: float) -> None:
    """In many steps the neuron is the clip: within half a step, theta / 2T."""
    clip, x, T = Clip(bound), torch.linspace(-1, 3, 401), 256
    theta = tcl(layer(x, cap=float(clip.cap().item())))
    count, _ = if_multistep(x, theta, theta / 2, T=T, emit="count")
    error = theta * count / T - clip(x).detach()
    assert float(error.abs().max()) <= bound / (2 * T) * (1 + 1e-3)  # float32 accumulates v


@pytest.mark.parametrize("L", (1, 2, 4, 8))
def test_qcfs_is_the_neuron_in_as_many_steps(L: int) -> None:
    """Theorem: with T = L, theta = lambda and v_init = theta / 2 there is no error, bit for bit.

    Currents and bound are dyadic, so that all sums are exact.
    """
    step, x = QCFS(L, 2.0), torch.arange(-64, 256, dtype=torch.float32) / 64
    theta = qcfs(layer(x, cap=float(step.cap().item()), levels=int(step.levels)))
    count, _ = if_multistep(x, theta, theta / 2, T=L, emit="count")
    assert torch.equal(theta * count / L, step(x).detach())


@pytest.mark.parametrize(
    ("name", "given", "advice"),
    (
        ("tcl", {}, r"spikeconv\.activation\.Clip"),
        ("tcl", {"levels": 4}, r"spikeconv\.activation\.Clip"),
        ("qcfs", {}, r"spikeconv\.activation\.QCFS"),
        ("qcfs", {"cap": 6.0}, r"spikeconv\.activation\.QCFS.*'tcl'"),
        ("qcfs", {"cap": 6.0, "levels": 0}, r"spikeconv\.activation\.QCFS"),
    ),
)
def test_without_a_trained_bound(name: str, given: dict[str, Any], advice: str) -> None:
    """An error with the layer's name and what to do."""
    with pytest.raises(ValueError, match=f"threshold='{name}' .*'block.act' has none.*{advice}"):
        THRESHOLDS[name](layer(CURRENTS, label="block.act", **given))


@pytest.mark.parametrize("granularity", ("channel", "layer"))
def test_of_a_fixed_cap(granularity: str) -> None:
    """ReLU6's is 6, reached or not."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU6(), nn.Conv2d(3, 2, 1))
    for scale in (0.1, 1e3):
        snn = converted(net, images(16) * scale, threshold="tcl", granularity=granularity)
        (node,) = snn.populations().values()
        assert bool((node.v_threshold == 6).all())


@pytest.mark.parametrize("name", ("tcl", "qcfs"))
def test_the_network_s_layer_is_named(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with pytest.raises(ValueError, match=f"threshold='{name}' .* '1' has none"):
        converted(net, threshold=name)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_cap_bounds_every_threshold(threshold: str) -> None:
    """Also that of a layer that was never active, which gets 1 otherwise."""
    silent = ChannelHistogram(2)
    silent.update(-torch.ones(3, 2))
    options: Any = {**GIVEN, "threshold": threshold, "cap": 0.25, "levels": 4}
    for granularity in ("channel", "layer"):
        assert bool((thresholds(silent, granularity=granularity, **options)[0] == 0.25).all())
        theta, _ = thresholds(histogram(0.25), granularity=granularity, **options)
        assert bool((theta <= 0.25).all())
