"""A run that stops early: what `early_exit` reads from all steps, without running them all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork
from spikeconv.early_exit import certainty, early_exit
from spikeconv.network import limits
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, converted, dyadic, images

# Those whose output is logits; thirds and their like are not exact, so logits are only close.
LOGITS = ("plain", "residual", "concat", "pool before", "pool in time", "capped", "scaled")
TIMINGS = (Timing(), Timing(srp=3), Timing(cos=3), Timing(delay=2), Timing(1, 2, 2))
T = 12


def network_and_images(name: str, **options: Any) -> tuple[SpikingNetwork, Tensor]:
    """With a head that makes more of the differences between images."""
    net = NETWORKS[name]()
    net.fc.weight.data.mul_(8)
    return dyadic(net, T=T, **options), images(8)


def assert_like_reading_all(snn: SpikingNetwork, x: Tensor, confidence: float, chunk: int) -> None:
    wanted = early_exit(snn(x, readout="all"), confidence)
    logits, steps = snn.exit_early(x, confidence, chunk=chunk)
    assert torch.equal(steps, wanted.steps)
    torch.testing.assert_close(logits, wanted.logits)


def middle(logits: Tensor) -> float:
    """A confidence that images reach at as many different steps as possible, none just so."""
    sure = certainty(logits).flatten().sort().values
    gaps = sure.diff() > 1e-5
    candidates = ((sure[1:] + sure[:-1]) / 2)[gaps].tolist()
    different = [len(early_exit(logits, c).steps.unique()) for c in candidates]
    assert max(different) > 2
    return candidates[different.index(max(different))]


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("timing", TIMINGS, ids=str)
def test_equals_reading_all(name: str, timing: Timing) -> None:
    snn, x = network_and_images(name)
    snn.timing = timing
    confidence = middle(snn(x, readout="all"))
    for chunk in (1, 5):
        assert_like_reading_all(snn, x, confidence, chunk)
    assert_like_reading_all(snn, x, 1e-3, 1)  # everyone at once
    assert_like_reading_all(snn, x, 1.0, 4)  # no one


def test_signed() -> None:
    """The net counts go with their images."""
    snn, x = network_and_images("residual", signed=True)
    assert_like_reading_all(snn, x, middle(snn(x, readout="all")), 1)


def test_bits() -> None:
    """Where no layer's arithmetic depends on the batch, not even the last bit differs."""
    net = Net(lambda s, x: F.relu(s.c2(F.relu(s.c1(x)))).mean((2, 3)))
    snn, x = dyadic(net, T=T), images(8)
    confidence = middle(snn(x, readout="all"))
    wanted = early_exit(snn(x, readout="all"), confidence)
    assert len(wanted.steps.unique()) > 1
    logits, steps = snn.exit_early(x, confidence)
    assert torch.equal(steps, wanted.steps) and torch.equal(logits, wanted.logits)


def test_it_stops() -> None:
    """The temporal layer sees an image at each step until it has left, and not after."""
    snn, x = network_and_images("residual")
    confidence = middle(snn(x, readout="all"))
    sizes: list[int] = []
    layer = next(step.target for step in snn.program.steps if step.label == "c2")
    snn.layers[layer].register_forward_pre_hook(lambda m, args: sizes.append(len(args[0])))
    steps = snn.exit_early(x, confidence).steps
    assert sizes == [int((steps >= t).sum()) for t in range(1, int(steps.max()) + 1)]
    assert len(set(sizes)) > 1 and sum(sizes) == steps.sum() < T * len(x)
    sizes.clear()
    snn.exit_early(x, confidence, chunk=4)
    assert sizes[0] == 4 * len(x)  # an image takes part in its chunk to the end


def test_only_steps_that_ran_are_counted() -> None:
    snn, x = network_and_images("residual")
    confidence = middle(snn(x, readout="all"))
    with snn.monitor() as monitor:
        steps = snn.exit_early(x, confidence).steps
    neurons = sum(torch.Size(step.shape).numel() for step in snn.program.neurons())
    assert sum(chances for _, chances in monitor.totals().values()) == neurons * steps.sum()
    with (
        snn.monitor(keep_counts=True),
        pytest.raises(ValueError, match=r"exit_early: keep_counts must be False .* got True"),
    ):
        snn.exit_early(x, confidence)


def test_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    snn, x = network_and_images("residual")
    confidence = middle(snn(x, readout="all"))
    whole = snn.exit_early(x, confidence)
    monkeypatch.setattr(limits, "_VALUES_IN_CACHE", snn.program.widest * 3)
    assert snn.images_at_once(x, 1) == 3
    logits, steps = snn.exit_early(x, confidence)
    assert torch.equal(steps, whole.steps)
    torch.testing.assert_close(logits, whole.logits)


def test_fewer_steps_than_the_network_s() -> None:
    snn, x = network_and_images("residual")
    steps = snn.exit_early(x, 1.0, T=3).steps
    assert steps.tolist() == [3] * 8
    assert torch.equal(steps, early_exit(snn(x, T=3, readout="all"), 1.0).steps)


def test_empty_batches_and_broken_images() -> None:
    snn, x = network_and_images("residual")
    logits, steps = snn.exit_early(images(0), 0.5)
    assert logits.shape == (0, 3) and steps.shape == (0,)
    x[2, 1, 3, 5] = torch.inf
    logits, steps = snn.exit_early(x, 0.1)
    assert logits[2].isnan().all() and steps.tolist() == [1, 1, T, 1, 1, 1, 1, 1]


def test_shapes_that_depend_on_the_batch_follow_it() -> None:
    """A view by the batch's size, before the first neuron, is that of the images that are left."""
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x.view(x.size(0), 2, 8, 8)))))))
    snn, x = converted(net, T=T), images(8)
    assert_like_reading_all(snn, x, middle(snn(x, readout="all")), 1)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    (
        ({"confidence": 0.0}, ValueError, "SpikingNetwork.exit_early: confidence must be above 0"),
        ({"confidence": None}, TypeError, "SpikingNetwork.exit_early: confidence must be a number"),
        ({"chunk": 0}, ValueError, "SpikingNetwork.exit_early: chunk must be at least 1, got 0"),
        ({"chunk": 2.0}, TypeError, "SpikingNetwork.exit_early: chunk must be an integer"),
        ({"T": 0}, ValueError, "SpikingNetwork: T must be at least 1, got 0"),
    ),
)
def test_errors(options: dict[str, Any], error: type[Exception], says: str) -> None:
    snn, x = network_and_images("residual")
    with pytest.raises(error, match=says):
        snn.exit_early(x, **{"confidence": 0.5, **options})


@pytest.mark.parametrize("name", ("branches", "ends in relu"))
def test_networks_without_logits_are_refused(name: str) -> None:
    snn, x = network_and_images(name)
    with pytest.raises(TypeError, match=r"whose output is logits \[B, C\], got"):
        snn.exit_early(x, 0.5)


def test_networks_of_vectors() -> None:
    """Without a convolution: images are vectors."""
    snn = converted(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.rand(16, 4))
    x = torch.rand(5, 4)
    assert_like_reading_all(snn, x, middle(snn(x, readout="all")), 1)
