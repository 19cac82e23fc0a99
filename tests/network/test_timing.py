"""The steps of a call as a value: what it takes, what it refuses, where it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from spikeconv import SpikingResNet
from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.network.timing import Stage, Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted, images


@pytest.mark.parametrize("name", ("delay", "srp", "cos"))
@pytest.mark.parametrize(
    ("steps", "error", "says"),
    (
        (-1, ValueError, "must be at least 0, got -1"),
        (2**24 + 1, ValueError, "must be at most 16777216, .* got 16777217"),
        (1.0, TypeError, "must be an integer, got float"),
        (True, TypeError, "must be an integer, got bool"),
        (None, TypeError, "must be an integer, got NoneType"),
    ),
)
def test_errors(name: str, steps: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"Timing: {name} {says}"):
        Timing(**{name: steps})
    with pytest.raises(error, match=f"Timing: {name} {says}"):
        converted(NETWORKS["plain"](), **{name: steps})


def test_stages_by_hand() -> None:
    """16 steps: 3 for the mask, 4 for COS inside the last 9, of which 2 are not read."""
    timing = Timing(delay=2, srp=3, cos=4)
    mask, last = Stage(3, silences=True), Stage(9, delay=2, cos=4, answers=True)
    assert timing.before == 9 and timing.steps_read(16) == 7
    assert timing.stages(16, every_step=False) == (mask, last)
    assert timing.stages(16, every_step=True) == (mask, Stage(4, preview=True), last)
    assert timing.stages(10, every_step=False)[-1] == Stage(3, delay=2, cos=3, answers=True)
    assert Timing().stages(5, every_step=True) == (Stage(5, answers=True),)
    for T in range(10, 20):
        assert sum(stage.steps for stage in timing.stages(T, every_step=True)) == T


def test_a_run_needs_a_step_to_read() -> None:
    snn = converted(NETWORKS["residual"](), T=8, srp=4, delay=2)
    assert snn(images(2), T=7).shape == (2, 3)
    says = "T must be at least 7, because delay=2, srp=4 spend 6 of the T steps before .*, got 6"
    for call in (snn, lambda x, T: snn.exit_early(x, 0.5, T=T)):
        with pytest.raises(ValueError, match=f"SpikingNetwork: {says}"):
            call(images(2), T=6)
    with pytest.raises(
        ValueError, match=r"convert: T must be at least 5, because cos=4 spends 4 of .*, got 4"
    ):
        converted(NETWORKS["plain"](), T=4, cos=4)


def test_where_it_is_told() -> None:
    snn = converted(NETWORKS["residual"](), T=8, srp=3, cos=1)
    assert snn.timing == Timing(srp=3, cos=1)
    assert "T=8, srp=3, cos=1" in repr(snn)
    report = snn.report()
    assert (report.settings["srp"], report.settings["cos"]) == (3, 1)
    assert "delay" not in report.settings
    assert "srp=3, cos=1" in str(report)
    snn.timing = Timing(delay=2)
    settings = snn.report(images(2)).settings
    assert settings["delay"] == 2 and not {"srp", "cos"} & settings.keys()


def test_the_report_s_error_is_that_of_the_steps_that_are_read() -> None:
    """theta * count / steps of the last layer is the output of a network that ends in it."""
    snn, x = converted(NETWORKS["ends in relu"](), T=9, srp=2, cos=2, delay=1), images(4)
    wanted = snn.analog(x)
    row = snn.report(x).rows[-1]
    assert row.error == pytest.approx(float((snn(x) - wanted).norm() / wanted.norm()))


def test_models_take_it() -> None:
    ann = NETWORKS["residual"]()
    snn = SpikingResNet.from_ann(ann, images(8), T=8, srp=2, progress=False)
    assert snn.timing == Timing(srp=2)


@pytest.mark.parametrize("name", ("delay", "srp", "cos"))
def test_the_naive_simulation_reads_every_step(name: str) -> None:
    snn = converted(NETWORKS["plain"](), T=8, **{name: 2})
    with pytest.raises(ValueError, match=f"NaiveSimulation: .* at every step, got .*{name}=2"):
        NaiveSimulation(snn)


def test_images_at_once_on_a_device_leave_room_for_the_steps_of_cos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They run together whatever the batch, so that the batch has to give way."""

    class Elsewhere(torch.Tensor):
        """Images that say that they are on a GPU."""

        device = torch.device("cuda")

    card = SimpleNamespace(total_memory=2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    snn: SpikingNetwork = converted(NETWORKS["plain"](), T=8)
    x = images(300).as_subclass(Elsewhere)
    assert snn.images_at_once(x, 8) == 300
    snn.timing = Timing(cos=2**12)
    assert snn.images_at_once(x, 2**13) == 2**26 // (snn.program.widest * 2**12)
