"""Corrections, their choice and timing in networks of several inputs, outputs and analog parts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.calibrate import Inputs
from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.convert.feeding import feeding_layers, head
from spikeconv.early_exit import early_exit
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import (
    Net,
    assert_same_output,
    converted,
    dyadic,
    images,
    relative_error,
)
from tests.network.test_exit_early import TIMINGS, middle

EVERYTHING = ("rts", "bias", "potential", "potential-channel", "step-bias", "weights", "search")


class TwoImages(nn.Module):
    """Logits of two images that differ in channels and in size."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 3, padding=1, stride=2)
        self.join = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        both = F.relu(self.left(x)) + F.relu(self.right(other))
        logits: Tensor = self.fc(F.relu(self.join(both)).mean((2, 3)))
        return logits


def pairs(count: int) -> tuple[Tensor, Tensor]:
    return images(count), images(count, 3, 16, 16)


def rounded(snn: SpikingNetwork) -> SpikingNetwork:
    """With sixteenths for what corrections have left: from then on its arithmetic is exact."""
    with torch.no_grad():
        for node in snn.populations().values():
            for value in (node.bias, node.step_bias):
                if value is not None:
                    value.copy_((value * 16).round() / 16)
        for name in snn.originals:
            for parameter in snn.layers[name].parameters():
                parameter.copy_((parameter * 16).round() / 16)
    return snn


@pytest.mark.parametrize("name", NETWORKS)
def test_the_choice_in_every_structure(name: str) -> None:
    """The nearest was kept; its ANN is still the one that was converted."""
    net, x = NETWORKS[name](), images(24)
    snn = converted(net, x, method="best", threshold=None, T=4)
    report = snn.report()
    tried = [one.error for one in report.tried]
    assert len(tried) == 3 and tried == sorted(tried)
    kept = report.settings["corrections"]
    said = report.tried[0].method
    assert said.endswith("v_init half" if kept == "none" else f"corrections {kept}")
    assert_same_output(snn.analog(x[:4]), net(x[:4]))


@pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_naive_simulation(name: str, signed: bool) -> None:
    """With biases of every kind and refitted weights, also in more steps than they are for."""
    snn = rounded(dyadic(NETWORKS[name](), corrections=EVERYTHING, T=4, signed=signed))
    for node in snn.populations().values():
        node.bias = torch.tensor(0.0625)
        assert node.step_bias is not None
    x = images(4)
    for T in (4, 8):
        assert_same_output(NaiveSimulation(snn)(x, T=T), snn(x, T=T))


def test_several_inputs() -> None:
    """Read in batches, of which one is of other sizes; refitted to the images of the first's."""
    net = TwoImages()
    larger = images(4, 2, 10, 10), images(4, 3, 20, 20)
    batches = [pairs(8), larger, pairs(16)]
    snn = converted(net, batches, corrections=("weights", "search"), threshold=None, T=4)
    plain = converted(net, batches, threshold="mse", T=4)
    assert snn.report().settings["calibration_images"] == 28
    assert set(snn.originals) == {"join", "fc"}
    x = pairs(24)
    with torch.no_grad():
        wanted = net(*x)
        assert_same_output(snn.analog(x), wanted)
        assert relative_error(snn(*x), wanted) < relative_error(plain(*x), wanted)


def test_the_choice_for_several_inputs() -> None:
    snn = converted(TwoImages(), pairs(24), method="best", threshold=None, T=4)
    assert len(snn.report().tried) == 3
    assert len(snn.report(pairs(2)).tried) == 3


@pytest.mark.parametrize("timing", TIMINGS, ids=str)
def test_several_inputs_exit_early(timing: Timing) -> None:
    """Both inputs stay with their image while others leave."""
    net = TwoImages()
    net.fc.weight.data.mul_(8)
    snn, x = dyadic(net, pairs(16), T=12), pairs(8)
    snn.timing = timing
    with torch.no_grad():
        confidence = middle(snn(*x, readout="all"))
        wanted = early_exit(snn(*x, readout="all"), confidence)
        for given in (x, list(x), {"other": x[1], "x": x[0]}, Inputs(x)):
            logits, steps = snn.exit_early(given, confidence)
            assert torch.equal(steps, wanted.steps)
            torch.testing.assert_close(logits, wanted.logits)


def test_one_number_per_image() -> None:
    """An image that is one number, beside another input and alone; it may be broken as well."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(2, 4, 3)

        def forward(self, x: Tensor, brightness: Tensor) -> Tensor:
            return F.relu(self.c(x) + brightness.view(-1, 1, 1, 1)).mean((2, 3))

    x, brightness = images(16), torch.rand(16) + 0.5
    snn = converted(Shifted(), (x, brightness), method="best", T=4)
    alone = converted(Net(lambda s, x: F.relu(x)), brightness, method="best", T=4)
    brightness[1] = float("inf")
    for logits in (snn(x, brightness), alone(brightness).unsqueeze(1)):
        assert logits.isnan().any(1).nonzero().flatten().tolist() == [1]


def body(s: Net, x: Tensor) -> Tensor:
    logits: Tensor = s.head(F.relu(s.c2(F.relu(s.c1(x)))))
    return logits


def with_class(s: Net, x: Tensor) -> dict[str, Tensor]:
    logits = body(s, x)
    return {"logits": logits, "class": logits.argmax(1)}


def test_outputs_that_are_integers() -> None:
    """The head is none whose weights can be fitted; a class has no distance and knows no NaN."""
    x = images(24)
    snn = converted(Net(with_class), x, method="best", threshold=None, T=4, analog=True)
    assert "fc" not in snn.originals
    difference = snn(x[18:])["logits"] - snn.analog(x[18:])["logits"]
    error = difference.norm() / snn.analog(x[18:])["logits"].norm()
    # What was kept has been fitted to these images as well since.
    assert snn.report().tried[0].error == pytest.approx(float(error), rel=0.1)
    x[1, 0, 0, 0] = float("nan")
    for readout, first in (("mean", 0), ("all", 1)):
        out = snn(x[:3], readout=readout)
        assert out["class"].dtype == torch.int64
        assert out["logits"].movedim(first, 0).isnan().flatten(1).all(1).tolist() == [0, 1, 0]


def test_analog_behind_the_head() -> None:
    """What the report says has both: what was tried, and what was kept."""
    net, x = Net(lambda s, x: body(s, x).softmax(1)), images(24)
    snn = converted(net, x, method="best", threshold=None, T=4, analog=True)
    report = snn.report()
    assert [kept.operation for kept in report.analog] == ["Tensor.softmax"]
    assert head(snn.program, snn.layers) is None
    data = report.to_dict()
    assert len(data["analog"]) == 1 and len(data["tried"]) == 3
    assert "kept analog: Tensor.softmax" in str(report) and "the first was kept" in str(report)


def fitted(net: Net) -> list[str]:
    """Which layers could be refitted."""
    snn = converted(net, T=4, corrections=EVERYTHING)
    found = [*feeding_layers(snn.program, snn.layers).values(), head(snn.program, snn.layers)]
    return [step.target for step in found if step is not None]


def test_which_layers_can_be_refitted() -> None:
    assert fitted(Net(body)) == ["c2", "fc"]

    def broadcast(s: Net, x: Tensor) -> Tensor:
        """Of the two that are added, one gives a value for every neuron."""
        h = F.relu(s.c1(x))
        return s.head(F.relu(s.one(h.mean((2, 3), keepdim=True)) + s.c2(h)))

    def by_keyword(s: Net, x: Tensor) -> Tensor:
        h = F.relu(s.c2(input=F.relu(s.c1(input=x))))
        logits: Tensor = s.fc(input=h.mean((2, 3)))
        return logits

    assert fitted(Net(broadcast, one=nn.Conv2d(4, 4, 1))) == ["c2", "fc"]
    assert fitted(Net(by_keyword)) == ["c2", "fc"]
