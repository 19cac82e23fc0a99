"""Every way to set thresholds with every initial potential, from network to logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikeconv
from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate import INITIAL_POTENTIALS, THRESHOLDS
from tests.convert.nets import converted, images, relative_error, settled

BOUND = 1.5


def network(activation: Callable[[], nn.Module]) -> nn.Module:
    """Two convolutions and two linear layers, the same weights for any activation."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        activation(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1),
        activation(),
        nn.Flatten(),
        nn.Linear(24, 12),
        activation(),
        nn.Linear(12, 3),
    )
    return settled(net).eval()


ACTIVATIONS = {"tcl": lambda: Clip(BOUND), "qcfs": lambda: QCFS(4, BOUND)}


def case(threshold: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network that such a threshold suits, images, and what it tends to with time.

    That of QCFS tends to the clip between whose levels it was trained to round.
    """
    net = network(ACTIVATIONS.get(threshold, nn.ReLU))
    limit = network(ACTIVATIONS["tcl"]) if threshold == "qcfs" else net
    x = images(16, 2, 4, 4)
    with torch.no_grad():
        return net, x, limit(x[:4])


def errors(threshold: str, **options: Any) -> list[float]:
    """Relative error of the logits of four images, converted for 16 and for 1024 steps."""
    net, x, wanted = case(threshold)
    snns = [converted(net, x, T=T, threshold=threshold, **options) for T in (16, 1024)]
    with torch.no_grad():
        return [relative_error(snn(x[:4]), wanted) for snn in snns]


def _clipping_nothing(threshold: str) -> dict[str, Any]:
    return {"percentile": 99.99} if threshold == "percentile" else {}


@pytest.mark.parametrize("v_init", (*INITIAL_POTENTIALS, 0.3))
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_error_vanishes_with_time(threshold: str, v_init: str | float) -> None:
    """Sixteenfold time, an eighth of the error or less, as it goes as 1 / T.

    The percentile is one that clips nothing to speak of. What balancing has not reached after its
    steps it clips, so its error has a floor; here below the error that is left.
    """
    first, last = errors(threshold, v_init=v_init, **_clipping_nothing(threshold))
    assert last < 0.02
    assert last < first / 8


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_per_layer(threshold: str) -> None:
    first, last = errors(threshold, granularity="layer", **_clipping_nothing(threshold))
    assert last < 0.02 and last < first


@pytest.mark.parametrize("signed", (False, True))
def test_free_combination(signed: bool) -> None:
    """By name, with a seed, and neurons of either kind; what was chosen is in the report."""
    net, x, _ = case("mse-closed")
    snn = spikeconv.convert(
        net, x, T=8, threshold="mse-closed", v_init="uniform", signed=signed, seed=3, progress=False
    )
    settings = snn.report().settings
    assert (settings["threshold"], settings["v_init"]) == ("mse-closed", "uniform, seed 3")
    assert relative_error(snn(x[:4]).detach(), net(x[:4]).detach()) < 0.3


def test_trained_bounds_are_the_thresholds() -> None:
    for threshold in ("tcl", "qcfs"):
        net, x, _ = case(threshold)
        for granularity in ("channel", "layer"):
            snn = converted(net, x, threshold=threshold, granularity=granularity)
            for node in snn.populations().values():
                assert bool((node.v_threshold == BOUND).all())


def test_closed_form_on_normal_currents() -> None:
    """Of images of normal noise, without padding: what the search finds, where the least error of
    8,192 values lies, which is flat there.
    """
    net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 1))
    x = torch.randn(512, 2, 6, 6)

    def theta(threshold: str) -> Tensor:
        (node,) = converted(net, x, T=4, threshold=threshold).populations().values()
        return node.v_threshold

    assert float((theta("mse-closed") / theta("mse") - 1).abs().max()) < 0.1


def test_a_percentile_of_another_threshold() -> None:
    with pytest.raises(ValueError, match=r"percentile is for threshold='percentile', got perc.*99"):
        spikeconv.convert(
            nn.ReLU(), torch.rand(8, 2), threshold="max", percentile=99, progress=False
        )
