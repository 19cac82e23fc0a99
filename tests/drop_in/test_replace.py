"""replace_neurons: the report, several libraries in one network, and none of them installed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch
from torch import nn

import spikeconv
from spikeconv.drop_in import replace
from spikeconv.drop_in.report import Layer, ReplaceReport
from tests.drop_in.libraries import library, steps


def test_a_network_without_neurons_is_left_alone() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), spikeconv.IFNode(0.5))
    before = repr(net)
    report = spikeconv.replace_neurons(net)
    assert repr(net) == before
    assert report == ReplaceReport()
    assert str(report) == "0 of 0 neuron layers replaced"


def test_what_is_no_module_is_an_error() -> None:
    for wrong in (None, [nn.ReLU()], nn.ReLU):
        with pytest.raises(TypeError, match=r"replace_neurons: net must be a torch\.nn\.Module"):
            spikeconv.replace_neurons(wrong)  # type: ignore[arg-type]


@pytest.mark.snntorch
def test_a_version_that_was_not_compared_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    snn: Any = library("snntorch")
    net = nn.Sequential(snn.Leaky(beta=1.0))
    replace._unknown_version.cache_clear()
    monkeypatch.setattr(replace, "version", lambda name: "1.0.7")
    assert replace._unknown_version("snntorch") is None
    replace._unknown_version.cache_clear()
    monkeypatch.setattr(replace, "version", lambda name: "1.1")
    (layer,) = spikeconv.replace_neurons(net).left
    assert layer.why == "snntorch 1.1 was not compared with ours, as 1.0 was"
    replace._unknown_version.cache_clear()


def test_a_module_in_several_places_and_one_that_holds_itself() -> None:
    relu = nn.ReLU()
    net = nn.Sequential(relu, nn.Sequential(relu, None))  # type: ignore[arg-type]
    net[1].add_module("parent", net)
    assert spikeconv.replace_neurons(net) == ReplaceReport()
    assert replace._paths(net)[id(relu)] == ["0", "1.0"]


def test_the_report_says_it_all() -> None:
    report = ReplaceReport(
        replaced=(
            Layer("", "spikingjelly", "IFNode", became="SpikingJellyIF(v_threshold=1)"),
            Layer("body.0", "snntorch", "Leaky", also_at=("body.2",), became="SnnTorchLeaky"),
        ),
        left=(Layer("head", "sinabs", "IAF", why="spike_fn is MultiSpike"),),
    )
    assert str(report).splitlines() == [
        "2 of 3 neuron layers replaced",
        "replaced  (the network)   IFNode (spikingjelly) -> SpikingJellyIF(v_threshold=1)",
        "replaced  body.0, body.2  Leaky (snntorch) -> SnnTorchLeaky",
        "left      head            IAF (sinabs): spike_fn is MultiSpike",
    ]
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["left"][0]["why"] == "spike_fn is MultiSpike"
    assert plain["replaced"][1]["also_at"] == ["body.2"]


@pytest.mark.spikingjelly
@pytest.mark.snntorch
@pytest.mark.sinabs
@pytest.mark.norse
def test_all_libraries_in_one_network() -> None:
    neuron: Any = library("spikingjelly.activation_based.neuron")
    snn, sinabs, norse = (library(name) for name in ("snntorch", "sinabs", "norse.torch"))
    single = library("sinabs.activation").SingleSpike
    net = nn.ModuleDict(
        {
            "a": neuron.IFNode(),
            "b": nn.Sequential(snn.Leaky(beta=1.0), neuron.LIFNode()),
            "c": sinabs.layers.IAF(spike_fn=single),
            "d": norse.IAF(),
            "e": norse.LIF(),
        }
    )
    net["a_again"] = net["a"]
    report = spikeconv.replace_neurons(net)
    assert [(x.path, x.also_at, x.library, x.kind) for x in report.replaced] == [
        ("a", ("a_again",), "spikingjelly", "IFNode"),
        ("b.0", (), "snntorch", "Leaky"),
        ("c", (), "sinabs", "IAF"),
        ("d", (), "norse", "IAF"),
    ]
    assert [(x.path, x.kind) for x in report.left] == [("b.1", "LIFNode"), ("e", "LIF")]
    assert str(report).startswith("4 of 6 neuron layers replaced\nreplaced  a, a_again  IFNode")
    again = spikeconv.replace_neurons(net)
    assert (again.replaced, again.left) == ((), report.left)


def run(script: str) -> str:
    """Output of a script in a process of its own, in which no library can be imported."""
    blocked = """
        import sys
        import importlib.abc

        class Blocked(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("spikingjelly", "snntorch", "sinabs", "norse"):
                    raise ImportError(f"{name} is not there")

        sys.meta_path.insert(0, Blocked())
    """
    text = textwrap.dedent(blocked) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_libraries_all_of_it_works() -> None:
    out = run(
        """
        import torch
        import spikeconv

        net = torch.nn.Sequential(torch.nn.ReLU(), spikeconv.IFNode(step_mode="s"))
        print(spikeconv.replace_neurons(net))
        print(net(torch.tensor([1.5])).item(), net[1].v.item())
        loaded = {"spikingjelly", "snntorch", "sinabs", "norse"} & sys.modules.keys()
        print(sorted(loaded))
        """
    )
    assert out.splitlines() == ["0 of 0 neuron layers replaced", "1.0 0.5", "[]"]


@pytest.mark.snntorch
@pytest.mark.spikingjelly
def test_only_the_library_that_is_there_is_used() -> None:
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, snntorch, spikeconv\n"
            "print(len(spikeconv.replace_neurons(snntorch.Leaky(beta=1.0)).replaced))\n"
            "print(sorted({'spikingjelly', 'sinabs', 'norse'} & sys.modules.keys()))",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert out.stdout.splitlines() == ["1", "[]"]


@pytest.mark.spikingjelly
@pytest.mark.gpu
def test_on_a_gpu_nothing_moves() -> None:
    neuron: Any = library("spikingjelly.activation_based.neuron")
    net = nn.Sequential(nn.Linear(5, 5), neuron.IFNode(v_reset=None)).to("cuda")
    x = steps(3, 5).to("cuda")
    with torch.no_grad():
        wanted = [net(step) for step in x]
        net[1].reset()
        spikeconv.replace_neurons(net)
        assert net[1].v_threshold.device.type == "cuda"
        for step, want in zip(x, wanted, strict=True):
            assert torch.equal(net(step), want)
