"""Measuring an ANN and its spiking form."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikeconv
from spikeconv.convert import SpikingNetwork
from spikeconv.early_exit import CONFIDENCES, ExitCurve, early_exit_curve
from spikeconv.evaluate import Evaluation, evaluate
from spikeconv.network.timing import Timing
from spikeconv.output import write_json
from spikeconv.processes import Processes

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, SpikingNetwork, Batches]:
    """A random network; labels are the ANN's own answers for two images of three."""
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
    x = torch.randn(30, 1, 8, 8)
    snn = spikeconv.convert(ann, x, T=8, progress=False)
    with torch.no_grad():
        labels = ann(x).argmax(1)
    labels[::3] = (labels[::3] + 1) % 5
    return ann, snn, list(zip(x.split(12), labels.split(12), strict=True))


def test_accuracies_are_those_of_runs_of_every_length(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    result = evaluate(ann, snn, batches, progress=False)
    x, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert result.images == 30
    assert result.ann == pytest.approx(20 / 30)
    assert result.T == 8
    for T in (1, 3, 8):
        expected = (snn(x, T=T).argmax(1) == labels).float().mean().item()
        assert result.snn[T - 1] == pytest.approx(expected)


def test_an_output_that_is_no_logits_is_refused() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"classes": self.fc(torch.relu(x))}

    ann, x = Named(), torch.rand(8, 4)
    snn = spikeconv.convert(ann, x, T=4, method="opi", progress=False)
    batches = [(x, torch.zeros(8, dtype=torch.int64))]
    with pytest.raises(TypeError, match=r"ann must return logits \[B, classes\], got a dict"):
        evaluate(ann, snn, batches, progress=False)
    with pytest.raises(TypeError, match=r"snn must return logits \[B, classes\], got a dict"):
        evaluate(nn.Linear(4, 3), snn, batches, progress=False)


def test_firing_rates_are_those_of_the_monitor(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    result = evaluate(ann, snn, batches, T=4, progress=False)
    with snn.monitor() as monitor:
        for x, _ in batches:
            snn(x, T=4)
    assert result.firing_rates == pytest.approx(monitor.firing_rates())
    assert result.firing_rates.keys() == dict(snn.neurons.items()).keys()
    assert list(result.layers.values()) == [row.layer for row in snn.report().rows]
    assert 0 < result.firing_rate < 1


def test_early_exit_is_that_of_all_images_together(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    confidences = [0.3, 0.5, 0.9]
    result = evaluate(ann, snn, batches, confidences=confidences, progress=False)
    x, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    curve = result.early_exit
    assert curve is not None and curve.confidences == confidences
    wanted = early_exit_curve(snn(x, readout="all"), labels, confidences)
    assert curve.steps == pytest.approx(wanted.steps)
    assert curve.accuracies == pytest.approx(wanted.accuracies)
    assert curve.steps[0] < curve.steps[-1] <= 8
    with pytest.raises(
        ValueError, match="evaluate: confidence must be above 0 and at most 1, got 2"
    ):
        evaluate(ann, snn, batches, confidences=[2], progress=False)


def test_steps_before_the_readout_are_counted_and_told(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    timed = copy.deepcopy(snn)
    timed.timing = Timing(srp=2, delay=1)
    result = evaluate(ann, timed, batches, progress=False)
    assert result.T == 8
    assert result.to_dict()["timing"] == {"delay": 1, "srp": 2, "cos": 0, "before_readout": 3}
    x, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    for T in (4, 8):
        expected = (timed(x, T=T).argmax(1) == labels).float().mean().item()
        assert result.snn[T - 1] == pytest.approx(expected)
    lines = str(result).splitlines()
    told = [line.endswith("before the readout") for line in lines if "T =" in line]
    assert told == [True] * 3 + [False] * 5
    assert "3 of all steps are spent before the readout: delay=1, srp=2" in lines
    assert "before the readout" not in str(evaluate(ann, snn, batches, progress=False))


def test_the_mode_of_the_ann_is_restored_and_dropout_is_off(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    ann, snn, batches = network
    dropping = nn.Sequential(ann, nn.Dropout(0.9)).train()
    result = evaluate(dropping, snn, batches, T=1, progress=False)
    assert result.ann == pytest.approx(20 / 30)
    assert dropping.training


def test_json_has_the_accuracies_first(
    network: tuple[nn.Module, SpikingNetwork, Batches], tmp_path: pytest.TempPathFactory
) -> None:
    ann, snn, batches = network
    result = evaluate(ann, snn, batches, T=3, progress=False)
    write_json(f"{tmp_path}/result.json", result.to_dict())
    with open(f"{tmp_path}/result.json") as stream:
        content = json.load(stream)
    assert list(content)[:3] == ["ann", "snn", "images"]
    assert content["ann"] == result.ann
    assert content["snn"] == result.snn and len(content["snn"]) == 3
    assert content["images"] == 30
    assert content["early_exit"]["confidences"] == list(CONFIDENCES)
    assert content["early_exit"]["steps"] == result.early_exit.steps  # type: ignore[union-attr]
    assert content["timing"]["before_readout"] == 0
    assert content["operations"]["accumulates"] == result.operations.accumulates  # type: ignore[union-attr]
    assert "an image takes" in str(result) and "energy estimate" in str(result)
    assert content["versions"]["torch"] == torch.__version__
    assert content["seconds"]["snn"] > 0
    assert str(torch.get_num_threads()) in content["machine"]


def test_the_table_shows_every_step_and_every_layer() -> None:
    result = Evaluation(
        ann=0.9173,
        snn=[0.1, 0.2, 0.3, 0.4, 0.5],
        images=2000,
        firing_rate=0.07,
        firing_rates={"relu": 0.08, "layer1_0_relu1": 0.06},
        ann_seconds=1.0,
        snn_seconds=4.0,
        early_exit=ExitCurve([0.5, 0.99], [2.5, 4.0], [0.31, 0.49]),
        layers={"layer1_0_relu1": "layer1.0.relu1"},
    )
    lines = str(result).splitlines()
    assert lines[1].split() == ["ANN", "91.73%"]
    assert [line.split()[2] for line in lines[2:7]] == ["1", "2", "3", "4", "5"]
    assert lines[6].endswith("50.00%")
    assert any(line.split() == ["8.00%", "relu"] for line in lines)
    assert any(line.split() == ["6.00%", "layer1.0.relu1"] for line in lines)
    assert any(line.split() == ["0.5", "31.00%", "in", "2.50", "steps"] for line in lines)
    assert any(line.split() == ["0.99", "49.00%", "in", "4.00", "steps"] for line in lines)


@pytest.mark.parametrize(
    ("batches", "T", "message"),
    [
        ([], 1, "at least one image, got none"),
        ([(torch.zeros(2, 1, 8, 8), torch.tensor([0, 5]))], 1, r"labels must be in 0\.\.4"),
        ([(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))], 0, "T must be at least 1, got 0"),
    ],
)
def test_nonsense_is_refused(
    network: tuple[nn.Module, SpikingNetwork, Batches], batches: Batches, T: int, message: str
) -> None:
    ann, snn, _ = network
    with pytest.raises(ValueError, match=message):
        evaluate(ann, snn, batches, T, progress=False)


class Pair(Processes):
    """Two processes of which the other has counted the same, and what they are compared by."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        object.__setattr__(self, "compared", {})

    def sum(self, value: Tensor) -> Tensor:
        return 2 * value

    def largest(self, value: Tensor) -> Tensor:
        return value

    def check_same(self, what: str, content: bytes) -> None:
        self.compared[what] = content  # type: ignore[attr-defined]


def test_counts_of_processes_add_up(network: tuple[nn.Module, SpikingNetwork, Batches]) -> None:
    ann, snn, batches = network
    alone = evaluate(ann, snn, batches, progress=False)
    both = evaluate(ann, snn, batches, progress=False, group=Pair())
    assert (both.images, both.processes) == (60, 2)
    assert (both.ann, both.snn) == (alone.ann, alone.snn)
    assert both.firing_rates == alone.firing_rates
    assert both.early_exit == alone.early_exit
    assert alone.operations is not None and both.operations is not None
    assert both.operations.images == 60
    assert both.operations.accumulates == alone.operations.accumulates
    assert "60 images in 2 processes: " in str(both)


def test_a_process_may_have_no_images(network: tuple[nn.Module, SpikingNetwork, Batches]) -> None:
    class Other(Pair):
        """The other process has one image, which both networks get right, in one step."""

        def sum(self, value: Tensor) -> Tensor:
            return value + 1

    ann, snn, _ = network
    result = evaluate(ann, snn, [], progress=False, group=Other())
    assert (result.images, result.ann, result.snn) == (1, 1.0, [1.0] * 8)
    assert result.firing_rates.keys() == dict(snn.neurons.items()).keys()


def test_what_processes_are_compared_by(
    network: tuple[nn.Module, SpikingNetwork, Batches],
) -> None:
    """A threshold, a weight, T and timing each make a difference; the same network makes none."""
    ann, snn, batches = network

    def compared(ann: nn.Module, snn: SpikingNetwork, **options: Any) -> dict[str, bytes]:
        group = Pair()
        evaluate(ann, snn, batches[:1], progress=False, group=group, **options)
        return group.compared  # type: ignore[attr-defined,no-any-return]

    base = compared(ann, snn)
    assert compared(copy.deepcopy(ann), copy.deepcopy(snn)) == base
    other_ann, other_snn, timed = copy.deepcopy(ann), copy.deepcopy(snn), copy.deepcopy(snn)
    next(other_ann.parameters()).data[0] += 1e-6
    next(iter(other_snn.populations().values())).v_threshold[0] *= 1 + 1e-6
    timed.timing = Timing(delay=1)

    def differing(found: dict[str, bytes]) -> list[str]:
        return [what for what in base if found[what] != base[what]]

    assert differing(compared(other_ann, snn)) == ["evaluate: the ANN"]
    assert differing(compared(ann, other_snn)) == ["evaluate: the spiking network"]
    for found in (compared(ann, timed), compared(ann, snn, T=4)):
        assert differing(found) == ["evaluate: T, timing and confidences"]
