"""method="best": what is tried, what is kept, and what a user's own options leave open."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from spikeconv import convert
from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate.method import Method
from spikeconv.convert import SpikingNetwork
from spikeconv.convert.choose import (
    LeftOpen,
    candidates,
    choose,
    relative_error,
    trained_threshold,
)
from spikeconv.convert.populate import Populations
from spikeconv.network.layers import Rectifier
from tests.helpers import assert_same


def network(activation: Any = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), activation(), nn.Conv2d(6, 6, 3), activation(), nn.Flatten(),
        nn.Linear(96, 3),
    )  # fmt: skip


def best(net: nn.Module, **options: Any) -> SpikingNetwork:
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return convert(net, x, **{"T": 4, "progress": False, **options})


def tried(snn: SpikingNetwork) -> list[str]:
    return [one.method for one in snn.report().tried]


def test_candidates() -> None:
    """The paper's come first: bounds that were trained before others, no correction before some."""

    def all_of(any_threshold: bool, any_correction: bool, trained: str | None, T: int = 16) -> Any:
        found = candidates(Method(), LeftOpen(any_threshold, any_correction), trained, T)
        assert not any(method.headroom for method in found)
        return [(method.threshold, "+".join(method.corrections)) for method in found]

    three = ["", "bias", "weights+search"]
    assert all_of(True, True, None) == [("mse", c) for c in three]
    assert all_of(True, True, "tcl") == [(t, c) for t in ("tcl", "mse") for c in three]
    assert all_of(False, True, "tcl") == [("mse", c) for c in three]
    assert all_of(True, False, "qcfs") == [("qcfs", ""), ("mse", "")]
    assert all_of(False, False, "qcfs") == [("mse", "")]
    assert all_of(True, True, None, T=64) == [("mse", c) for c in three]


def test_candidates_of_many_steps() -> None:
    """Refitted weights alone, and headroom; none above a trained bound, which is a cap."""

    def all_of(trained: str | None, given: Method, **left_open: bool) -> Any:
        found = candidates(given, LeftOpen(**left_open), trained, 65)
        return [(method.threshold, *method.corrections, method.headroom) for method in found]

    def each(threshold: str, *headrooms: float) -> Any:
        corrections: tuple[tuple[str, ...], ...] = ((), ("weights",))
        return [(threshold, *c, h) for c in corrections for h in headrooms]

    assert all_of(None, Method()) == each("mse", 0, 0.1)
    assert all_of("tcl", Method()) == each("tcl", 0) + each("mse", 0, 0.1)
    assert all_of(None, Method("max"), threshold=False) == each("max", 0, 0.1)
    assert all_of("tcl", Method("tcl"), threshold=False) == each("tcl", 0)
    assert all_of("tcl", Method(headroom=0.3), headroom=False) == each("tcl", 0.3) + each(
        "mse", 0.3
    )
    given = Method("max", corrections=("bias",))
    assert all_of(None, given, threshold=False, corrections=False) == [
        ("max", "bias", 0),
        ("max", "bias", 0.1),
    ]


def test_one_threshold_for_a_layer_stays_one() -> None:
    found = candidates(Method(granularity="layer"), LeftOpen(), None, 4)
    assert [method.corrections for method in found] == [(), ("bias",), ("weights", "bias")]
    for node in best(network(), granularity="layer").populations().values():
        assert node.v_threshold.numel() == 1


def test_potentials_that_are_drawn_stay() -> None:
    """The search would give each channel one."""
    found = candidates(Method(v_init="uniform"), LeftOpen(), None, 4)
    assert [method.corrections for method in found] == [(), ("bias",), ("weights", "bias")]
    first = next(iter(best(network(), v_init="uniform").populations().values()))
    assert first.v_init.unique().numel() > 100  # of 216 neurons
    with pytest.warns(UserWarning, match="those that v_init='gaussian' draws"):
        best(network(), v_init="gaussian", corrections=("search",))


def test_of_few_images_none_are_left_to_compare_on() -> None:
    with pytest.warns(UserWarning, match="of 3 calibration images none or one is left"):
        convert(network(), torch.rand(3, 1, 8, 8), T=4, progress=False)


def test_trained_threshold() -> None:
    clip, qcfs = Rectifier(1.0, trained=True), Rectifier(1.0, 4, trained=True)
    assert trained_threshold([clip, clip]) == trained_threshold([clip, qcfs]) == "tcl"
    assert trained_threshold([qcfs, qcfs]) == "qcfs"
    assert trained_threshold([qcfs, Rectifier(6.0)]) is None


def test_the_nearest_is_kept_and_of_equals_the_first() -> None:
    """Errors 2, 1, 1, broken: the second."""
    outputs = iter([3.0, 2.0, 0.0, math.nan])
    methods = [Method(v_init=i / 8) for i in range(4)]
    made = [Populations({}, {}) for _ in methods]
    population, method, found = choose(
        methods,
        lambda one: made[methods.index(one)],
        lambda _: torch.tensor([next(outputs)]),
        torch.tensor([1.0]),
        progress=False,
    )
    assert population is made[1] and method is methods[1]
    assert [one.error for one in found] == [1, 1, 2, math.inf]
    assert [one.method for one in found] == [str(methods[i]) for i in (1, 2, 0, 3)]


def test_a_broken_first_is_not_kept() -> None:
    outputs = iter([math.nan, 5.0])
    methods = [Method(), Method(v_init="zero")]
    _, method, _ = choose(
        methods,
        lambda _: Populations({}, {}),
        lambda _: torch.tensor([next(outputs)]),
        torch.tensor([1.0]),
        progress=False,
    )
    assert method is methods[1]


def test_relative_error() -> None:
    """||(3, 0) - (0, 4)|| / ||(0, 4)||, over all tensors; of nothing, whether there is any."""
    three, four, zero = torch.tensor([3.0]), torch.tensor([4.0]), torch.zeros(1)
    assert relative_error((three, {"b": zero}), (zero, {"b": four})) == 1.25
    assert (relative_error(zero, zero), relative_error(three, zero)) == (0, 1)
    assert relative_error(three / 0, four) == math.inf


@pytest.mark.parametrize(("threshold", "activation"), [("tcl", Clip), ("qcfs", QCFS)])
def test_a_trained_bound_is_tried_first(threshold: str, activation: Any) -> None:
    net = network(lambda: activation(bound=1.0))
    assert len(tried(best(net))) == 6
    assert {line.split(" per ")[0] for line in tried(best(net))} == {
        f"threshold {threshold}",
        "threshold mse",
    }
    assert best(net, method="opi").report().settings["threshold"] == threshold
    assert best(net, method="opi", threshold="max").report().settings["threshold"] == "max"


def test_what_is_given_is_not_tried() -> None:
    snn = best(network(), threshold="max")
    assert len(tried(snn)) == 3 and all("threshold max per channel" in t for t in tried(snn))
    assert tried(best(network(), corrections=("bias",))) == []
    assert tried(best(network(), corrections=())) == []
    assert len(tried(best(network(), T=65))) == 4
    assert tried(best(network(), T=65, headroom=0, corrections=())) == []
    signed = best(network(), signed=True, v_init=0.25)
    assert all("v_init 0.25" in t and t.endswith("signed") for t in tried(signed))
    assert all(node.signed for node in signed.populations().values())


def test_opi_is_the_paper_s() -> None:
    """Bit for bit the default method's parameters: theta by squared error, v_init half of it."""
    default = Method()
    assert (default.threshold, default.v_init, default.corrections) == ("mse", "half", ())
    paper = best(network(), method="opi").state_dict()
    spelt = best(network(), threshold="mse", corrections=()).state_dict()
    assert paper.keys() == spelt.keys()
    for name, value in paper.items():
        assert_same(value, spelt[name], name)


def test_it_says_what_and_why() -> None:
    report = best(network()).report()
    settings = report.settings
    kept = settings["corrections"]
    assert report.tried[0].method.startswith("threshold mse per channel, v_init half")
    assert kept == "none" or report.tried[0].method.endswith(f"corrections {kept}")
    text = str(report)
    assert f"corrections={kept}" in text
    assert "outputs on calibration images held out from corrections, the first was kept" in text
    assert all(one.held_out for one in report.tried)
    for one in report.tried:
        assert f"{one.error:.3f}  {one.method}" in text
    assert report.to_dict()["tried"][0]["error"] == report.tried[0].error


def test_one_image_of_the_first_s_size_is_not_called_held_out() -> None:
    """Corrections are fitted to it, and it is compared on; thresholds are of all images."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    first, others = torch.rand(1, 1, 6, 6), torch.rand(30, 1, 8, 8)
    with pytest.warns(UserWarning, match="none or one is left to compare"):
        snn = convert(net, [first, others], T=4, progress=False)
    report = snn.report()
    assert report.settings["calibration_images"] == 31
    assert "on the one calibration image that corrections were fitted to" in report.choice()
    plain = convert(net, [first, others], T=4, method="opi", progress=False)
    error = ((plain(first) - net(first)).norm() / net(first).norm()).item()
    (untuned,) = [one for one in report.tried if "corrections" not in one.method]
    assert untuned.error == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("signed", [False, True])
def test_the_same_choice_and_bits_each_time(signed: bool) -> None:
    first, second = (best(network(), signed=signed) for _ in range(2))
    assert first.report() == second.report()
    for name, value in first.state_dict().items():
        assert_same(second.state_dict()[name], value, name)


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match="method must be one of 'best', 'opi', got 'fast'"):
        best(network(), method="fast")
    with pytest.raises(
        ValueError, match=r"corrections must be among 'rts', .*, 'weights', got 'x'"
    ):
        best(network(), corrections=("bias", "x"))
    with pytest.raises(TypeError, match="corrections must be a sequence of names, got 'bias'"):
        best(network(), corrections="bias")
    with pytest.raises(ValueError, match=r"threshold must be one of 'max', .*got 'median'"):
        best(network(), threshold="median")
    with pytest.raises(TypeError, match="signed must be True or False, got 1"):
        best(network(), signed=1)


def test_what_is_kept_is_fitted_to_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter is held out where there is a choice; without one nothing is."""
    module = importlib.import_module("spikeconv.convert.fit")
    fitted: list[int] = []

    def tune(*given: Any) -> Populations:
        fitted.append(len(given[4]))
        return original(*given)

    original = module.tune
    monkeypatch.setattr(module, "tune", tune)
    best(network())
    assert fitted == [48, 48, 48, 64]
    fitted.clear()
    best(network(), threshold="mse", corrections=("bias",))
    best(network(), method="opi", corrections=("bias",))
    assert fitted == [64, 64]


def test_without_assertions() -> None:
    """`python -O` leaves them out, and nothing that conversion needs may be among them."""
    script = (
        "import torch, spikeconv; from torch import nn; torch.manual_seed(0)\n"
        "ann = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))\n"
        "snn = spikeconv.convert(ann, torch.rand(64, 8), T=4, progress=False)\n"
        "print([t.error for t in snn.report().tried])"
    )
    said = [
        subprocess.run(
            [sys.executable, *options, "-c", script], capture_output=True, text=True, check=True
        ).stdout
        for options in ([], ["-O"])
    ]
    assert said[0] == said[1]
