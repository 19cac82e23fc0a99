"""A stream as an object: images that leave, batches that change, steps that fail, and its state."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from spikeconv import IFNode
from spikeconv.network.structure import map_tensors
from spikeconv.network.timing import MOST_STEPS
from tests.convert.bodies import NETWORKS
from tests.convert.nets import assert_close, assert_same_output, converted, dyadic, images
from tests.network.test_stream import T, each_network, streamed


@each_network
def test_keep(name: str) -> None:
    """Images that are answered leave; the others go on as they would have."""
    snn = dyadic(NETWORKS[name](), signed=True)
    events = torch.stack([images(5) for _ in range(T)])
    run, whole = snn.stream(), snn.stream()
    left = torch.arange(5)
    for t, x in enumerate(events):
        got, wanted = run.step(x[left]), whole.step(x)
        chosen = map_tensors(lambda y, left=left: y[left], wanted)
        same = assert_same_output if t + 1 in (1, 2, 4, 8) else assert_close
        same(got, chosen)
        if t == 2:
            left = torch.tensor([4, 0, 2])
            run.keep(left)
        if t == 4:
            run.keep(torch.tensor([True, False, True]))
            left = torch.tensor([4, 2])


@pytest.mark.parametrize(
    ("images", "error", "says"),
    (
        ([0], TypeError, r"images must be int64 \[\*\] or bool \[3\], got \[0\]"),
        (torch.tensor(0), TypeError, "got torch.int64 \\[\\]"),
        (torch.tensor([0.0]), TypeError, "got torch.float32"),
        (torch.tensor([3]), ValueError, "images must be of the 3 there are"),
        (torch.tensor([-1]), ValueError, "images must be of the 3 there are"),
        (torch.tensor([True]), ValueError, "images must be of the 3 there are"),
    ),
)
def test_keep_errors(images: Any, error: type[Exception], says: str) -> None:
    snn, x = converted(NETWORKS["plain"]()), torch.zeros(3, 2, 8, 8)
    run = snn.stream()
    with pytest.raises(ValueError, match="there must be a step before"):
        run.keep(torch.tensor([0]))
    run.step(x)
    with pytest.raises(error, match=says):
        run.keep(images)
    run.step(x)


def test_another_batch_needs_a_reset() -> None:
    snn, x = converted(NETWORKS["concat"]()), images(3)
    run = snn.stream()
    first = run.step(x)
    for other in (images(2), images(3, 2, 9, 8)):
        with pytest.raises(ValueError, match=r"\[3, 2, 8, 8\] as at the steps before, got \["):
            run.step(other)
    assert run.T == 1
    with pytest.raises(TypeError, match=r"x must be torch\.float32"):
        run.step(x.double())
    run.step(x)
    run.reset()
    assert run.T == 0
    run.step(images(2))
    run.reset()
    assert_same_output(run.step(x), first)


def test_the_first_step_has_inputs() -> None:
    run = converted(NETWORKS["plain"]()).stream()
    with pytest.raises(TypeError, match="the first step must have inputs"):
        run.step()


def test_a_step_that_fails_leaves_no_half_state(monkeypatch: pytest.MonkeyPatch) -> None:
    snn, x = converted(NETWORKS["residual"]()), images(2)
    run = snn.stream()
    first = run.step(x)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(IFNode, "run", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            run.step(x)
    with pytest.raises(RuntimeError, match=r"failed half-way, .* call reset\(\)"):
        run.step(x)
    run.reset()
    assert_same_output(run.step(x), first)


def test_no_more_steps_than_float32_counts() -> None:
    run = converted(NETWORKS["plain"]()).stream()
    run.step(images(1))
    run._steps = MOST_STEPS
    with pytest.raises(ValueError, match=r"T must be at most 16777216, .* call reset\(\)"):
        run.step(images(1))


def test_a_broken_image_stays_broken() -> None:
    """Until the reset, and no other image with it."""
    snn = converted(NETWORKS["concat"]())
    run, good = snn.stream(), snn.stream()
    for t in range(4):
        x = images(3)
        wanted = good.step(x)
        if t == 1:
            x = x.clone()
            x[1, 0, 2, 2] = torch.nan
        got = run.step(x)
        assert got[1].isnan().all() == (t >= 1)
        torch.testing.assert_close(got[[0, 2]], wanted[[0, 2]])
    run.keep(torch.tensor([1, 2]))
    got = run.step(images(2))
    assert got[0].isnan().all() and not got[1].isnan().any()
    run.reset()
    assert not run.step(images(2)).isnan().any()


def test_streams_and_calls_beside_one_another() -> None:
    snn, x, y = converted(NETWORKS["residual"]()), images(3), images(2)
    alone = [streamed(snn, x), streamed(snn, y)]
    one, other = snn.stream(), snn.stream()
    for t in range(T):
        assert_same_output(one.step(x), alone[0][t])
        snn(images(4), T=2)
        assert_same_output(other.step(y), alone[1][t])


def test_needs_no_gradients() -> None:
    snn, x = converted(NETWORKS["concat"]()), images(2).requires_grad_()
    assert not snn.stream().step(x).requires_grad


def test_a_monitor_counts_its_steps() -> None:
    snn, x = converted(NETWORKS["residual"](), delay=2), images(3)
    with snn.monitor(keep_counts=True) as called:
        snn(x, T=T)
    run = snn.stream()
    with snn.monitor(keep_counts=True) as stepped:
        for _ in range(T):
            run.step(x)
    run.step(x)  # outside
    assert stepped.firing_rates() == called.firing_rates()
    assert all(torch.equal(count, called.counts[name]) for name, count in stepped.counts.items())


def test_operations_are_those_of_every_input_and_answer() -> None:
    """Of two sequences: 3 inputs in 5 steps, of which the last is of the second alone.

    4 values reach 9 neurons, and these 3 outputs.
    """
    snn = converted(nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3)), images(32, 4))
    stream = snn.stream()
    with snn.monitor() as monitor:
        for x in (images(2, 4), images(2, 4)):
            stream.step(x)
        stream.step()
        stream.step()
        stream.keep(torch.tensor([1]))
        stream.step(images(1, 4))
    first, last = snn.operations(monitor).rows
    assert (first.macs, first.ann_macs) == ((2 + 2 + 1) * 36, 2 * 36)
    assert (last.macs, last.ann_macs) == ((2 + 2 + 2 + 2 + 1) * 27, 2 * 27)


def test_operations_of_a_part_of_a_stream() -> None:
    """A monitor that comes later counts what is computed from then on, and none that has gone."""
    snn = converted(nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3)), images(32, 4))
    stream = snn.stream()
    stream.step(images(1, 4))
    with snn.monitor() as monitor:
        stream.step(images(1, 4))
        stream.step(images(1, 4))
    stream.step(images(1, 4))
    assert [row.macs for row in snn.operations(monitor).rows] == [2 * 36, 2 * 27]


def test_operations_of_one_input_are_those_of_a_call() -> None:
    """But for the answers, of which a call gives one."""
    snn, x = dyadic(NETWORKS["residual"]()), images(3)
    with snn.monitor() as called:
        snn(x, T=T)
    stream = snn.stream()
    with snn.monitor() as stepped:
        stream.step(x)
        for _ in range(T - 1):
            stream.step()
    for one, other in zip(snn.operations(called).rows, snn.operations(stepped).rows, strict=True):
        answers = T if one.phase == "readout" else 1
        assert other == replace(one, macs=answers * one.macs)


def test_is_neither_copied_nor_pickled() -> None:
    snn = converted(NETWORKS["residual"]())
    run = snn.stream()
    run.step(images(3))
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"cannot be copied or pickled.* stream\(\) of the net"):
            copied(run)


def test_calls_between_its_steps_are_counted_apart() -> None:
    """Of other images, too, whose neurons have other shapes."""
    snn, x, other = dyadic(NETWORKS["residual"]()), images(3), images(2, 2, 12, 12)
    with snn.monitor() as apart:
        snn(other)
        run = snn.stream()
        for _ in range(2):
            run.step(x)
    with snn.monitor() as between:
        run = snn.stream()
        run.step(x)
        snn(other)
        run.step(x)
    assert between.totals() == apart.totals()
    assert snn.operations(between) == snn.operations(apart)
