"""Networks through NIR and back: the same to the bit, or refused with what NIR cannot say."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv import SpikingResNet
from spikeconv.convert import SpikingNetwork
from spikeconv.models import build_model
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, assert_close, converted, images, settled
from tests.convert.test_together import EVERYTHING, TwoImages, pairs
from tests.files.roundtrip import assert_equal_networks

needs_nir = pytest.mark.nir
quiet = pytest.mark.filterwarnings("ignore:to_nir:UserWarning")


@pytest.fixture
def nir() -> ModuleType:
    return importlib.import_module("nir")


def through_a_file(snn: SpikingNetwork, nir: Any, folder: Path) -> Any:
    nir.write(folder / "snn.nir", spikeconv.to_nir(snn))
    return nir.read(folder / "snn.nir")


@needs_nir
@quiet
@pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))
@pytest.mark.parametrize("name", ("plain", "residual", "capped", "concat"))
def test_round_trip(name: str, signed: bool, nir: Any, tmp_path: Path) -> None:
    """With refitted weights, biases of every kind, and steps before the readout."""
    options = {"corrections": EVERYTHING, "signed": signed, "srp": 1, "delay": 1}
    snn = converted(NETWORKS[name](), T=6, **options)
    assert len(snn.originals) and len(snn.report().rows)
    assert_equal_networks(spikeconv.from_nir(spikeconv.to_nir(snn)), snn, images(3))
    read = through_a_file(snn, nir, tmp_path)
    assert_equal_networks(spikeconv.from_nir(read), snn, images(3))


@needs_nir
@quiet
def test_round_trip_of_a_residual_network(nir: Any, tmp_path: Path) -> None:
    ann, x = build_model("resnet8", widths=(4, 8, 8)), torch.rand(8, 3, 32, 32)
    snn = SpikingResNet.from_ann(ann, x, T=4, progress=False)
    again = spikeconv.from_nir(through_a_file(snn, nir, tmp_path))
    assert_equal_networks(again, snn, x[:2])
    assert spikeconv.from_nir(spikeconv.to_nir(snn), T=7).T == 7


@needs_nir
@quiet
@pytest.mark.parametrize("dtype", (torch.float16, torch.float64))
def test_dtypes(dtype: torch.dtype, nir: Any, tmp_path: Path) -> None:
    snn = converted(NETWORKS["plain"]().to(dtype), images(16).double(), T=4)
    again = spikeconv.from_nir(through_a_file(snn, nir, tmp_path))
    assert_equal_networks(again, snn, images(2).to(dtype))


@needs_nir
@quiet
def test_several_inputs_and_outputs(nir: Any, tmp_path: Path) -> None:
    class Both(TwoImages):
        def forward(self, x: Tensor, other: Tensor) -> Any:
            logits = super().forward(x, other)
            return {"logits": logits, "doubled": [logits * 2]}

    snn = converted(Both(), [pairs(16)], T=4)
    read = through_a_file(snn, nir, tmp_path)
    assert sorted(read.inputs) == ["input", "other"] and len(read.outputs) == 2
    assert_equal_networks(spikeconv.from_nir(read), snn, *pairs(3))


@needs_nir
def test_semantics_are_stated(nir: Any, tmp_path: Path) -> None:
    """In the metadata, in words and numbers, and as a warning where the graph is made."""
    snn = converted(NETWORKS["plain"](), T=6, signed=True, corrections=("step-bias",), delay=2)
    with pytest.warns(UserWarning, match="to_nir: Neurons of spikeconv fire where .* at or above"):
        nir.write(tmp_path / "snn.nir", spikeconv.to_nir(snn))
    graph = nir.read(tmp_path / "snn.nir")
    own = graph.metadata["spikeconv"]
    assert own["semantics"]["T"] == 6 and own["semantics"]["steps_before_readout"] == 2
    assert "v >= v_threshold" in own["semantics"]["neuron"]
    assert "signed" in own["semantics"]["unless"]
    assert "other importers" in own["warning"]
    for name, node in snn.populations().items():
        said = graph.nodes[name]
        assert np.array_equal(said.v_threshold, node.v_threshold.expand(said.r.shape))
        assert said.metadata["reset"] == "subtraction" and said.metadata["fires"] == ">="
        assert said.metadata["signed"] == 1
        assert np.array_equal(said.metadata["v_init"], node.v_init)
        assert np.array_equal(said.metadata["step_bias"], node.step_bias)


def _one_dimension(s: Net, x: Tensor) -> Tensor:
    h = F.relu(s.first(x.flatten(2)))
    return s.last(F.relu(s.second(h) - h).flatten(1))


def _sums(s: Net, x: Tensor) -> Tensor:
    h = F.relu(s.c1(x))
    g = F.relu(s.c2(h) + h)
    return s.fc((s.c2(g) + g + h - (-g) * 2 + (h + h) / s.w).mean((2, 3)))


def _pools(s: Net, x: Tensor) -> Tensor:
    h = F.avg_pool2d(F.relu(s.c1(x)), 2, stride=1, padding=1)
    return s.fc(F.adaptive_avg_pool2d(F.relu(s.c2(s.pool(h))), 1).flatten(1))


def _parts(s: Net, x: Tensor) -> Tensor:
    """Rows left out, zeros at unequal sides and around channels, channels side by side."""
    h = F.relu(s.c1(x))
    g = F.pad(h[:, :, ::2, ::3], (2, 0, 1, 3, 1, 0))
    g = F.relu(s.c3(torch.cat([g[:, 1:2], g[:, 2:], g[:, :2]], dim=1)))
    return s.head(s.z(F.pad(g, (0, 1))))


def _joined_vectors(s: Net, x: Tensor) -> Tensor:
    h = F.relu(s.c1(x)).mean((2, 3))
    return s.fc(F.relu(s.up(torch.cat([F.relu(s.fc(h)), h], 1))))


SPELLINGS: dict[str, Any] = {
    "one dimension": lambda: Net(
        _one_dimension,
        first=nn.Conv1d(2, 4, 5, stride=2, padding=2),
        second=nn.Conv1d(4, 4, 3, padding="same", groups=4),
        last=nn.Linear(128, 3),
    ),
    "sums": lambda: Net(_sums, w=nn.Parameter(torch.rand(4, 1, 1) + 0.5)),
    "pools": lambda: Net(_pools, pool=nn.AvgPool2d((3, 2), (2, 1))),
    "convolutions": lambda: Net(
        lambda s, x: s.head(F.relu(s.long(F.relu(s.grouped(F.relu(s.c1(x))))))),
        grouped=nn.Conv2d(4, 8, 3, padding=(2, 1), groups=2, dilation=(2, 1), bias=False),
        long=nn.Conv2d(8, 4, (1, 3), stride=2, padding="valid"),
    ),
    "parts": lambda: Net(_parts, c3=nn.Conv2d(6, 4, 1), z=nn.ZeroPad2d(1)),
    "joined vectors": lambda: Net(_joined_vectors, up=nn.Linear(7, 4)),
    "norm": lambda: settled(
        Net(
            lambda s, x: s.head(F.relu(s.c2(s.n(F.relu(s.c1(s.first(x))))))),
            n=nn.BatchNorm2d(4),
            first=nn.BatchNorm2d(2, affine=False),
        )
    ).eval(),
    "vectors": lambda: settled(
        nn.Sequential(
            *(nn.Flatten(), nn.Linear(128, 6), nn.ReLU(), nn.BatchNorm1d(6)),
            *(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3)),
        )
    ).eval(),
}


@needs_nir
@quiet
@pytest.mark.parametrize("name", SPELLINGS)
def test_what_the_nodes_say(name: str, nir: Any) -> None:
    """Without any metadata, the nodes compute what the network does, but for NIR's neurons.

    Of neurons that start at 0 and meet no tie, the difference is the reset alone, if there is one.
    """
    snn = converted(SPELLINGS[name](), T=8, v_init="zero")
    graph = spikeconv.to_nir(snn)
    assert_equal_networks(spikeconv.from_nir(graph), snn, images(2))
    foreign = spikeconv.from_nir(graph, T=8, metadata=False)
    x = images(4)
    assert_close(foreign.analog(x), snn.analog(x))
    if not hasattr(nir.IF(r=np.ones(1), v_threshold=np.ones(1)), "v_reset"):
        assert_close(foreign(x), snn(x))


@needs_nir
@quiet
@pytest.mark.parametrize(
    ("name", "says"),
    (
        ("pool before", ("1 step of", "step max_pool2d_layer.*: NIR has no MaxPool2d")),
        ("ends in relu", ("1 step of", "step add: NIR has no node that adds a constant")),
        (
            "scaled",
            ("2 steps", "step sub: .* that adds a constant", "step sub_1: .* of one shape"),
        ),
        (
            "branches",
            ("4 steps", "step chunk: NIR has no chunk", "step getitem_1: NIR takes"),
        ),
    ),
)
def test_what_nir_cannot_say(name: str, says: tuple[str, ...]) -> None:
    """All of it at once, by its steps."""
    with pytest.raises(ValueError, match=r"^to_nir: NIR cannot say") as caught:
        spikeconv.to_nir(converted(NETWORKS[name](), T=3))
    for words in says:
        assert re.search(words, str(caught.value)), str(caught.value)


@needs_nir
@quiet
def test_numbers_that_numpy_has_not() -> None:
    snn = converted(NETWORKS["plain"]().to(torch.bfloat16), images(8).double(), T=3)
    with pytest.raises(ValueError, match=r"got bfloat16 in .*; give a copy of it in another one"):
        spikeconv.to_nir(snn)


@needs_nir
@quiet
def test_wrong_arguments() -> None:
    graph = spikeconv.to_nir(converted(NETWORKS["plain"](), T=3))
    with pytest.raises(TypeError, match="to_nir: network must be a SpikingNetwork, got Linear"):
        spikeconv.to_nir(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"from_nir: graph must be a nir\.NIRGraph, got str"):
        spikeconv.from_nir("snn.nir")
    with pytest.raises(ValueError, match="from_nir: T must be at least 1, got 0"):
        spikeconv.from_nir(graph, T=0)


@needs_nir
@quiet
def test_a_network_of_ones_own_class() -> None:
    class Mine(SpikingNetwork):
        pass

    snn = converted(NETWORKS["plain"](), T=3)
    snn.__class__ = Mine
    with pytest.raises(TypeError, match=r"^to_nir: .*one of spikeconv's classes, got a .*Mine"):
        spikeconv.to_nir(snn)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    for call in (spikeconv.to_nir, spikeconv.from_nir):
        with pytest.raises(ImportError, match=f"{call.__name__}: NIR graphs need nir"):
            call(nn.Identity())
