"""Networks of several inputs: calibrated, called, and what is said of a wrong number of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import spikeconv
from spikeconv.calibrate import Inputs
from spikeconv.convert import ConversionError, NaiveSimulation, SpikingNetwork
from tests.convert.nets import assert_same_output, dyadic, images, relative_error


class TwoViews(nn.Module):
    """Two images and, if given, a mask that weighs their features; a tuple and a dict as output."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 3, padding=1)
        self.join = nn.Conv2d(8, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(
        self, x: Tensor, other: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        h = F.relu(self.left(x))
        g = F.relu(self.right(other))
        if mask is not None:
            h = h * mask
        y = F.relu(self.join(torch.cat([h, g], 1)))
        return self.fc(y.mean((2, 3))), {"features": h, "image": x}


def data(count: int = 16) -> tuple[Tensor, Tensor]:
    return images(count), images(count, 3, 8, 8)


def made(calibration: Any, net: nn.Module | None = None, **options: Any) -> SpikingNetwork:
    net = TwoViews() if net is None else net
    options = {"progress": False, "method": "opi", "threshold": "max", "T": 4, **options}
    return spikeconv.convert(net, calibration, **options)


LABEL = torch.zeros(4, dtype=torch.long)
FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tuple of all data": lambda x, y: (x, y),
    "dict of all data": lambda x, y: {"other": y, "x": x},
    "one batch": lambda x, y: [(x, y)],
    "pairs": lambda x, y: list(zip(x.split(4), y.split(4), strict=True)),
    "lists": lambda x, y: [[a, b] for a, b in zip(x.split(4), y.split(4), strict=True)],
    "with a label": lambda x, y: [
        (a, b, LABEL) for a, b in zip(x.split(4), y.split(4), strict=True)
    ],
    "inputs and a label": lambda x, y: [
        ((a, b), LABEL) for a, b in zip(x.split(4), y.split(4), strict=True)
    ],
    "dicts": lambda x, y: [
        {"x": a, "other": b} for a, b in zip(x.split(4), y.split(4), strict=True)
    ],
    "dict and a label": lambda x, y: [
        ({"other": b, "x": a}, LABEL) for a, b in zip(x.split(4), y.split(4), strict=True)
    ],
    "with a batch of no images": lambda x, y: [(x[:0], y[:0]), (x, y)],
    "DataLoader": lambda x, y: DataLoader(TensorDataset(x, y), 4),
    "DataLoader with labels": lambda x, y: DataLoader(TensorDataset(x, y, torch.arange(16)), 4),
}


@pytest.mark.parametrize("form", FORMS)
def test_calibration_data_in_every_form(form: str) -> None:
    net, (x, y) = TwoViews(), data()
    wanted = made([(x, y)], net)
    snn = made(FORMS[form](x, y), net)
    assert snn.report().settings["calibration_images"] == 16
    for name, node in wanted.populations().items():
        torch.testing.assert_close(snn.populations()[name].v_threshold, node.v_threshold)
    torch.testing.assert_close(snn(x, y), wanted(x, y))


def test_tends_to_the_ann() -> None:
    net, (x, y) = TwoViews(), data()
    snn = made((x, y), net)
    with torch.no_grad():
        wanted = net(x, y)
        torch.testing.assert_close(snn.analog((x, y)), wanted)
    assert len(snn.neurons) == 3
    assert relative_error(snn(x, y, T=256), wanted) < 0.02
    assert len(snn.report((x, y)).rows) == 3


def test_calls() -> None:
    """By position, by name, all in one; every form gives the same."""
    snn, (x, y) = made(data()), data(3)
    logits, others = snn(x, y)
    assert logits.shape == (3, 3) and list(others) == ["features", "image"]
    running, _ = snn(x, y, T=6, readout="all")
    assert running.shape == (6, 3, 3)
    for out in (snn(x, other=y), snn(other=y, x=x), snn((x, y)), snn(Inputs((x, y)))):
        assert_same_output(out, (logits, others))
    assert_same_output(snn({"other": y, "x": x}), (logits, others))


def test_equals_the_naive_simulation() -> None:
    net, (x, y) = TwoViews(), data()
    rounded = dyadic(net, (x, y))
    for form in (rounded, copy.deepcopy(rounded)):
        assert_same_output(NaiveSimulation(form)(x, y, T=8), form(x, y, T=8))


def test_an_optional_input_that_calibration_gives() -> None:
    """Named in a dict, it is an input; a static factor of spikes is exact, so it is taken."""
    net, (x, y) = TwoViews(), data()
    mask = torch.rand(16, 1, 8, 8)
    snn = made({"x": x, "other": y, "mask": mask}, net)
    with torch.no_grad():
        wanted = net(x, y, mask)
    torch.testing.assert_close(snn.analog((x, y, mask)), wanted)
    assert relative_error(snn(x, y, mask, T=256), wanted) < 0.02
    assert_same_output(snn(x, y, mask=mask), snn(x, y, mask))
    with pytest.raises(TypeError, match="inputs must be x, other, mask, got 2 of them"):
        snn(x, y)


def test_one_input_by_name() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    x = images(8)
    (node,) = made({"input": x}, net).populations().values()
    (other,) = made([({"input": x}, None)], net).populations().values()
    (wanted,) = made(x, net).populations().values()
    assert torch.equal(node.v_threshold, wanted.v_threshold)
    assert torch.equal(other.v_threshold, wanted.v_threshold)


def test_an_input_that_is_no_image() -> None:
    """Indices stay integers and, looked up before the neurons, are static."""

    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(5, 4))
            self.c = nn.Conv2d(2, 4, 3)

        def forward(self, kind: Tensor, x: Tensor) -> Tensor:
            return F.relu(self.c(x) + self.table[kind][:, :, None, None]).mean((2, 3))

    net, x, kind = Conditioned(), images(16), torch.arange(16) % 5
    snn = made((kind, x), net)
    with torch.no_grad():
        assert relative_error(snn(kind, x, T=512), net(kind, x)) < 0.02
    with pytest.raises(TypeError, match=r"kind must be a tensor of torch\.int64, got torch\.float"):
        snn(x, x)


def test_empty_batch_and_broken_image() -> None:
    net, snn, (x, y) = TwoViews(), made(data()), data(3)
    empty = snn(x[:0], y[:0])
    assert_same_output(empty, net(x[:0], y[:0]))
    y[1, 0, 0, 0] = float("nan")
    logits, _ = snn(x, y)
    assert logits.isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("args", "error", "says"),
    (
        ((images(2),), TypeError, r"x, other, got 1 of them; .* are the tuple \(x, other\)"),
        ((images(2), images(2, 3, 8, 8), 8), TypeError, "got 3 of them; T and readout are given"),
        ((images(2), None), TypeError, "other must be a floating-point tensor, got NoneType"),
        ((images(2), images(2)), ValueError, r"other must be a batch like \[B, 3, 8, 8\]"),
        ((images(2), images(3, 3, 8, 8)), ValueError, "same images, got so many: x 2, other 3"),
    ),
)
def test_call_errors(args: Any, error: type[Exception], says: str) -> None:
    snn = made(data())
    with pytest.raises(error, match=f"SpikingNetwork: .*{says}"):
        snn(*args)


def test_call_errors_by_name() -> None:
    snn, (x, y) = made(data()), data(2)
    for wrong in ({"othre": y}, {"x": x}, {"other": y, "more": x}):
        with pytest.raises(TypeError, match="the inputs must be x, other, got 1 of them and"):
            snn(x, **wrong)


@pytest.mark.parametrize(
    ("calibration", "error", "says"),
    (
        (images(4), TypeError, "calibration must be a tuple of the 2 inputs x, other, .* Tensor"),
        ([images(4)], TypeError, "batch 0 must be a tuple of the 2 inputs .*, got Tensor"),
        ([(images(4),)], TypeError, "batch 0 must be a tuple of the 2 inputs .* got tuple of 1"),
        ([4 * (images(4),)], TypeError, "batch 0 must be a tuple .* got tuple of 4"),
        ([((images(4),), LABEL)], TypeError, "batch 0 must be .* got tuple of 1"),
        ([(images(4), None)], TypeError, "batch 0: other must be a tensor, got NoneType"),
        ([{"x": images(4)}], ValueError, "batch 0: other is missing"),
        ([{"x": images(4), "y": images(4)}], ValueError, "y is no argument .* x, other, mask"),
        ({"x": images(4), "y": images(4)}, ValueError, "calibration: y is no argument"),
        ([(images(4), images(3, 3, 8, 8))], ValueError, "same images, got so many: x 4, other 3"),
        ((images(4), images(3, 3, 8, 8)), ValueError, "same images, got so many: x 4, other 3"),
        ([(torch.zeros(2).long(), torch.zeros(2).long())], TypeError, "one of x, other must be f"),
        ([(images(0), images(0, 3, 8, 8))], ValueError, "calibration is empty"),
    ),
)
def test_calibration_errors(calibration: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"convert: .*{says}"):
        made(calibration)


def test_a_later_batch_with_other_names() -> None:
    x, y = data()
    mask = torch.ones(16, 1, 8, 8)
    batches = [{"x": x, "other": y}, {"x": x, "other": y, "mask": mask}]
    with pytest.raises(ValueError, match="batch 1: mask is no argument"):
        made(batches)


def test_no_input() -> None:
    class Without(nn.Module):
        def forward(self, *anything: Tensor) -> Tensor:
            return F.relu(torch.zeros(1, 2))

    with pytest.raises(ConversionError, match="forward takes no input by name"):
        made(images(4), Without())


def test_mixing_the_images_of_one_of_two_inputs() -> None:
    class Mixes(nn.Module):
        def forward(self, x: Tensor, other: Tensor) -> Tensor:
            return F.relu(x) + other.mean(0, keepdim=True)

    with pytest.raises(ConversionError, match="mixes the images of a batch"):
        made((images(8), images(8)), Mixes())


def test_with_the_best_method_and_until_it_is_sure() -> None:
    """What is fitted, compared and left early works on all inputs together."""

    class Logits(TwoViews):
        def forward(self, x: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x, other)[0]

    x, y = data(24)
    snn = made((x, y), Logits(), method="best", threshold=None, T=8)
    assert snn.report().tried
    logits, steps = snn.exit_early((x, y), confidence=1.0)
    assert torch.equal(steps, torch.full((24,), 8))
    torch.testing.assert_close(logits, snn(x, y))
    early = snn.exit_early((x, y), confidence=0.34).steps
    assert early.min() < 8
