"""Graphs of other libraries: what their nodes say, or a refusal by the nodes' names."""

from __future__ import annotations

import importlib
import itertools
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import spikeconv
from spikeconv.convert import SpikingNetwork

pytestmark = pytest.mark.nir

Array = Any


@pytest.fixture
def nir() -> ModuleType:
    return importlib.import_module("nir")


def array(*shape: int, seed: int = 0) -> Array:
    """Numbers of sixteenths, whose sums are exact."""
    numbers = np.random.default_rng(seed).integers(-16, 17, shape) / 16
    return numbers.astype(np.float32)


def chain(nir: Any, *nodes: Any, shape: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """A graph of nodes one after the other, between an input and an output."""
    inside = {f"{i}": node for i, node in enumerate(nodes)}
    ends = nir.Input({"input": np.array(shape)}), nir.Output({"output": np.array(out)})
    names = ["in", *inside, "out"]
    edges = list(itertools.pairwise(names))
    return graph(nir, {"in": ends[0], **inside, "out": ends[1]}, edges)


def graph(nir: Any, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Any:
    """A graph whose types are not checked, where nir can check them."""
    return nir.NIRGraph(nodes, edges, **unchecked(nir))


def unchecked(nir: Any) -> dict[str, bool]:
    """The option that leaves types alone: some versions take groups for a mistake."""
    return {"type_check": False} if hasattr(nir.NIRGraph, "check_types") else {}


def neurons(nir: Any, theta: Array, r: Array = None) -> Any:
    theta = np.asarray(theta, dtype=np.float32)
    return nir.IF(r=np.ones_like(theta) if r is None else r, v_threshold=theta)


def is_hard(nir: Any) -> bool:
    """Whether neurons of this version of nir are reset to a potential."""
    return hasattr(neurons(nir, 1.0), "v_reset")


def spikes(nir: Any, x: Tensor, theta: Tensor, T: int) -> list[Tensor]:
    """NIR's IF written out, a step at a time: the spikes of a constant current."""
    v, found = torch.zeros_like(x), []
    for _ in range(T):
        v = v + x
        spike = (v > theta).float()
        v = v * (1 - spike) if is_hard(nir) else v - theta * spike
        found.append(spike)
    return found


def test_a_tie_does_not_fire(nir: Any) -> None:
    """A current of 1/2 and a threshold of 1: the potential is 1/2, 1, 3/2, and only that fires."""
    snn = spikeconv.from_nir(chain(nir, neurons(nir, [1.0]), shape=(1,), out=(1,)), T=5)
    assert isinstance(snn, SpikingNetwork) and snn.T == 5
    rates = snn(torch.tensor([[0.5]]), readout="all").flatten()
    # Then it is 0, 1/2, 1 again where it is reset to 0, and 1/2, 1, 3/2 by subtraction.
    counts = torch.tensor([0.0, 0, 1, 1, 1 if is_hard(nir) else 2])
    torch.testing.assert_close(rates, counts / torch.arange(1, 6))


@pytest.mark.parametrize("theta", (0.75, 1.0, 3.0))
def test_spikes_are_worth_one(nir: Any, theta: float) -> None:
    """Whatever the threshold is, and a resistance scales the current."""
    x = torch.tensor([[0.375], [0.5], [2.0], [-1.0], [math.pi]])
    one = spikeconv.from_nir(chain(nir, neurons(nir, [theta]), shape=(1,), out=(1,)), T=12)
    wanted = torch.stack(spikes(nir, x, torch.tensor(theta), 12)).mean(0)
    torch.testing.assert_close(one(x), wanted)
    halved = neurons(nir, [theta], r=np.array([0.5], dtype=np.float32))
    two = spikeconv.from_nir(chain(nir, halved, shape=(1,), out=(1,)), T=12)
    assert torch.equal(two(x * 2), one(x))


def test_every_kind_of_node(nir: Any, tmp_path: Path) -> None:
    """Against the same layers written out; through a file, as other libraries give it."""
    theta = np.abs(array(4, 3, 3)) + 0.5
    scale = array(2, 1, 1, seed=3) * np.ones((2, 1, 1), dtype=np.float32)
    nodes = (
        nir.Conv2d(
            input_shape=(6, 6),
            weight=array(4, 1, 3, 3),
            stride=(2, 2),
            padding=(1, 1),
            dilation=(1, 1),
            groups=2,
            bias=array(4),
        ),
        neurons(nir, theta),
        nir.Conv2d((3, 3), array(2, 4, 3, 3, seed=2), (1, 1), "valid", (1, 1), 1, array(2)),
        nir.Scale(scale=scale),
        nir.Flatten(input_type={"input": np.array([2, 1, 1])}, start_dim=0, end_dim=-1),
        nir.Affine(weight=array(3, 2), bias=array(3)),
        nir.Linear(weight=array(2, 3)),
    )
    made = chain(nir, *nodes, shape=(2, 6, 6), out=(2,))
    nir.write(tmp_path / "foreign.nir", made)
    snn = spikeconv.from_nir(nir.read(tmp_path / "foreign.nir", **unchecked(nir)), T=8)
    x = torch.from_numpy(array(5, 2, 6, 6, seed=7))
    t = torch.from_numpy
    current = F.conv2d(x, t(nodes[0].weight), t(nodes[0].bias), 2, 1, groups=2)
    rate = torch.stack(spikes(nir, current, t(theta), 8)).mean(0)
    h = (F.conv2d(rate, t(nodes[2].weight), t(nodes[2].bias)) * t(scale)).flatten(1)
    wanted = F.linear(F.linear(h, t(nodes[5].weight), t(nodes[5].bias)), t(nodes[6].weight))
    torch.testing.assert_close(snn(x), wanted)
    torch.testing.assert_close(spikeconv.from_nir(made)(x, T=8), wanted)
    assert [row.layer for row in snn.report().rows] == ["1"]
    assert snn.report().settings["from"] == "NIR"


def test_one_dimension_and_pools(nir: Any) -> None:
    line = nir.Conv1d(8, array(4, 2, 3), 1, 1, 1, 1, array(4))
    snn = spikeconv.from_nir(
        chain(nir, line, neurons(nir, np.ones((4, 8))), shape=(2, 8), out=(4, 8)), T=4
    )
    x = torch.from_numpy(array(3, 2, 8, seed=5))
    current = F.conv1d(x, torch.from_numpy(line.weight), torch.from_numpy(line.bias), 1, 1)
    wanted = torch.stack(spikes(nir, current, torch.tensor(1.0), 4)).mean(0)
    assert torch.equal(snn(x), wanted)
    two = np.array([2, 2])
    for kind, factor in ((nir.SumPool2d, 4.0), (nir.AvgPool2d, 1.0)):
        pool = kind(kernel_size=two, stride=two, padding=np.array([0, 0]))
        made = chain(nir, neurons(nir, np.ones((1, 4, 4))), pool, shape=(1, 4, 4), out=(1, 2, 2))
        x = torch.from_numpy(array(3, 1, 4, 4, seed=6)) * 2
        rate = torch.stack(spikes(nir, x, torch.tensor(1.0), 4)).mean(0)
        assert torch.equal(spikeconv.from_nir(made, T=4)(x), F.avg_pool2d(rate, 2) * factor)


def test_edges_add_and_outputs_have_names(nir: Any) -> None:
    """Names as other libraries give them: with points, spaces, digits, or of a method."""
    like = np.array([3])
    nodes = {
        "a.in": nir.Input({"input": like}),
        "pop": nir.Affine(weight=array(3, 3), bias=array(3)),
        "2nd pop": neurons(nir, [1.0, 1.0, 1.0]),
        "lif.0": neurons(nir, [0.5, 1.0, 2.0]),
        "out": nir.Output({"output": like}),
        "out.2": nir.Output({"output": like}),
    }
    edges = [("a.in", "pop"), ("pop", "2nd pop"), ("a.in", "2nd pop"), ("2nd pop", "lif.0")]
    edges += [("lif.0", "out"), ("2nd pop", "out"), ("2nd pop", "out.2")]
    snn = spikeconv.from_nir(graph(nir, nodes, edges), T=8)
    x = torch.from_numpy(array(4, 3, seed=9)) * 2
    pop = nodes["pop"]
    current = F.linear(x, torch.from_numpy(pop.weight), torch.from_numpy(pop.bias)) + x
    first = spikes(nir, current, torch.tensor(1.0), 8)
    v, second = torch.zeros(4, 3), []
    theta = torch.tensor([0.5, 1.0, 2.0])
    for spike in first:
        v = v + spike
        fires = (v > theta).float()
        v = v * (1 - fires) if is_hard(nir) else v - theta * fires
        second.append(fires)
    out = snn(x)
    assert list(out) == ["out", "out.2"]
    assert torch.equal(out["out.2"], torch.stack(first).mean(0))
    torch.testing.assert_close(out["out"], (torch.stack(first) + torch.stack(second)).mean(0))


def test_it_can_be_saved_and_exported_again(nir: Any, tmp_path: Path) -> None:
    made = chain(nir, neurons(nir, [0.75]), nir.Linear(array(2, 1)), shape=(1,), out=(2,))
    snn = spikeconv.from_nir(made, T=6)
    x = torch.tensor([[0.3], [0.9]])
    snn.save(tmp_path / "snn.safetensors")
    assert torch.equal(spikeconv.load(tmp_path / "snn.safetensors")(x), snn(x))
    with pytest.warns(UserWarning, match="to_nir"):
        again = spikeconv.from_nir(spikeconv.to_nir(snn))
    assert torch.equal(again(x), snn(x))


def _lif(nir: Any) -> Any:
    one = np.ones(1, dtype=np.float32)
    return nir.LIF(tau=one, r=one, v_leak=0 * one, v_threshold=one)


def test_strange_nodes_are_named(nir: Any) -> None:
    one = np.ones(1, dtype=np.float32)
    made = chain(nir, _lif(nir), nir.I(r=one), neurons(nir, one), shape=(1,), out=(1,))
    with pytest.raises(ValueError, match=r"^from_nir: graph must be of IF, Conv1d, .*") as caught:
        spikeconv.from_nir(made)
    assert str(caught.value).endswith("found '0' (LIF), '1' (I)")
    inner = chain(nir, neurons(nir, one), shape=(1,), out=(1,))
    with pytest.raises(ValueError, match=r"found '0' \(NIRGraph\)"):
        spikeconv.from_nir(chain(nir, inner, shape=(1,), out=(1,)))


def _edges(*edges: tuple[str, str]) -> Any:
    def change(made: Any) -> None:
        made.edges += edges

    return change


def _sizes(sizes: Any) -> Any:
    return lambda made: made.nodes["in"].input_type.update(input=sizes)


@pytest.mark.parametrize(
    ("change", "says"),
    (
        (_edges(("0", "0")), "graph must have no loops, found '0' -> '0'"),
        (_edges(("1", "0")), "graph must have no loops, found"),
        (_edges(("0", "nowhere")), "edge '0' -> 'nowhere' is of a node that is not there"),
        (lambda g: g.edges.pop(0), "node '0' (IF) cannot be read: nothing arrives at it"),
        (_edges(("in", "out")), "node 'out' (Output) cannot be read: values of several shapes"),
        (lambda g: (g.nodes.pop("out"), g.edges.pop()), "graph must have an Output node"),
        (lambda g: setattr(g.nodes["1"], "weight", array(2, 2)), "node '1' (Linear) cannot be"),
        (lambda g: setattr(g.nodes["0"], "v_threshold", array(3) * 0 + 1), "v_threshold is [3]"),
        (lambda g: setattr(g.nodes["0"], "v_threshold", array(1) * 0), "v_threshold must be"),
        (lambda g: g.nodes["0"].v_threshold.fill(np.nan), "v_threshold must be positive and"),
        (lambda g: g.nodes["0"].v_threshold.fill(np.inf), "v_threshold must be positive and"),
        (_sizes([2**40, 2**40]), "is no shape"),
        (_sizes([2**40]), "node 'in' (Input) cannot be read: its shape [1099511627776] fits no"),
        (
            _sizes(None),
            "node 'in' (Input) cannot be read: its input must be a list of sizes, got N",
        ),
        (_sizes(np.array(4)), "its input must be a list of sizes, got 4"),
        (_sizes([np.nan]), "node 'in' (Input) cannot be read: cannot convert float NaN"),
        (lambda g: g.nodes["in"].input_type.clear(), "its input must be a list of sizes, got None"),
        (_edges(("out", "0")), "edge 'out' -> '0' leaves an Output or enters an Input"),
        (_edges(("0", "in")), "edge '0' -> 'in' leaves an Output or enters an Input"),
        (
            lambda g: setattr(g.nodes["1"], "weight", array(2, 1) * 1j),
            "node '1' (Linear) cannot be read: it has complex numbers",
        ),
    ),
)
def test_graphs_that_are_none(change: Any, says: str, nir: Any) -> None:
    made = chain(nir, neurons(nir, [1.0]), nir.Linear(array(2, 1)), shape=(1,), out=(2,))
    change(made)
    with pytest.raises(ValueError, match=r"^from_nir: ") as caught:
        spikeconv.from_nir(made)
    assert says in str(caught.value)


def test_a_graph_without_neurons(nir: Any) -> None:
    made = chain(nir, nir.Linear(array(2, 1)), shape=(1,), out=(2,))
    with pytest.raises(ValueError, match="graph must have an IF node, found none"):
        spikeconv.from_nir(made)
