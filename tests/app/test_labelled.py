"""What a loader gives to evaluate: pairs, several inputs, and what is neither."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import spikeconv
from spikeconv.convert import SpikingNetwork
from spikeconv.evaluate import evaluate
from tests.app.test_evaluate import Batches
from tests.app.test_evaluate import network as network

X, LABELS = torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (X, r"evaluate: loader batch 0 must be a pair \(images, labels\), got Tensor"),
        ([X], r"evaluate: loader batch 0 must be a pair \(images, labels\), got Tensor"),
        ([(X, LABELS, LABELS)], "loader batch 0 must be a pair .*, got 3 values; several inputs"),
        ([(X, LABELS), (X, [0, 1])], r"loader batch 1: labels must be a tensor \[B\], got list"),
        (
            [{"x": X, "labels": LABELS}],
            "got dict; inputs by name go first, as ",
        ),
        ([({}, LABELS)], "the inputs must be .*, got 0 of them"),
        ([("x", LABELS)], "loader batch 0: images must be tensors, got str"),
        ([(X.double(), LABELS)], "x must be torch.float32 as the network is, got torch.float64"),
    ],
)
def test_what_is_no_pair_of_images_and_labels_is_told(
    network: tuple[nn.Module, SpikingNetwork, Batches], loader: Any, message: str
) -> None:
    ann, snn, _ = network
    with pytest.raises(TypeError, match=message):
        evaluate(ann, snn, loader, progress=False)


def test_networks_the_wrong_way_round(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    with pytest.raises(TypeError, match="evaluate: snn must be a SpikingNetwork, got Sequential"):
        evaluate(snn, ann, batches, progress=False)  # type: ignore[arg-type]


def test_what_else_holds_a_pair_and_a_compiled_network(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    wanted = evaluate(ann, snn, batches, progress=False)
    pairs = (iter(pair) for pair in batches)
    compiled = cast(SpikingNetwork, torch.compile(snn, backend="eager"))
    for other, loader in ((snn, pairs), (compiled, batches)):
        assert evaluate(ann, other, loader, progress=False).snn == wanted.snn


class Two(nn.Module):
    """Logits of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc(torch.relu(self.a(x) + self.b(y)))


def test_several_inputs_by_position_and_by_name() -> None:
    ann = Two().eval()
    x, y = torch.rand(20, 4), torch.rand(20, 3)
    snn = spikeconv.convert(ann, (x, y), T=4, progress=False)
    with torch.no_grad():
        labels = ann(x, y).argmax(1)
    wanted = [float((snn(x, y, T=T).argmax(1) == labels).double().mean()) for T in range(1, 5)]
    for inputs in ((x, y), [x, y], {"y": y, "x": x}):
        result = evaluate(ann, snn, [(inputs, labels)], progress=False)
        assert (result.ann, result.snn) == (1.0, wanted)
    with pytest.raises(TypeError, match="the inputs must be x, y, got 1 of them"):
        evaluate(ann, snn, [((x,), labels)], progress=False)


def test_an_input_may_be_called_as_an_argument_of_the_spiking_network() -> None:
    class Named(Two):
        def forward(self, x: Tensor, T: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x, T)

    ann = Named().eval()
    x, other = torch.rand(20, 4), torch.rand(20, 3)
    snn = spikeconv.convert(ann, (x, other), T=4, progress=False)
    labels = torch.zeros(20, dtype=torch.int64)
    by_name = evaluate(ann, snn, [({"x": x, "T": other}, labels)], progress=False)
    assert by_name.snn == evaluate(ann, snn, [((x, other), labels)], progress=False).snn
