"""Max pooling of spikes is never silently wrong: before the neuron, in time, or an error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import ConversionError, SpikingNetwork
from tests.convert.nets import Net, check, converted, images, refusal, relative_error


def kinds(snn: SpikingNetwork) -> list[str]:
    """The pools and neurons of a network, in order."""
    return [step.kind for step in snn.program.steps if step.kind in ("neuron", "max_pool")]


BEFORE: dict[str, Any] = {
    "MaxPool2d": nn.MaxPool2d(2),
    "overlapping": nn.MaxPool2d(3, 2, 1),
    "ceil_mode": nn.MaxPool2d(3, 2, ceil_mode=True),
    "dilated": nn.MaxPool2d(2, dilation=2),
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d(3),
    "function": lambda h: F.max_pool2d(h, 2),
    "amax": lambda h: h.amax((2, 3)),
    "torch.amax, keepdim": lambda h: torch.amax(h, dim=-1, keepdim=True),
    "max(dim)[0]": lambda h: h.max(3)[0],
    "max(dim).values": lambda h: torch.max(h, dim=2, keepdim=True).values,
    "through dropout": lambda h: F.max_pool2d(F.dropout(h, 0.5, False), 2),
    "unread indices": lambda h: F.max_pool2d(h, 3, 2, return_indices=True)[0],
    "unread indices, adaptive": lambda h: F.adaptive_max_pool2d(h, 3, return_indices=True)[0],
    "two in a row": lambda h: F.max_pool2d(F.max_pool2d(h, 2), 2),
}


@pytest.mark.parametrize("name", BEFORE)
def test_it_moves_before_the_neuron(name: str) -> None:
    """The neuron, and all that read it, stand behind; the logits tend to the ANN's."""
    pool = BEFORE[name]
    net = Net(lambda s, x: s.last(F.relu(s.pool(F.relu(s.c1(x))).flatten(2).mean(2))), pool=pool)
    net.last = nn.Linear(4, 3)
    if name in ("amax", "max(dim)[0]", "max(dim).values", "torch.amax, keepdim"):
        net.body = lambda s, x: s.last(F.relu(_mean(s.pool(F.relu(s.c1(x))))))
    snn = check(net, neurons=2)
    *pools, last, end = kinds(snn)
    assert (last, end) == ("neuron", "neuron") and set(pools) == {"max_pool"}


def test_indices_that_nobody_reads() -> None:
    """Are left out, and those that unpooling reads are refused, also where analog is asked for."""

    def unread(s: Net, x: Tensor) -> Any:
        return s.last(F.relu(s.pool(F.relu(s.c1(x)))[0].mean((2, 3))))

    def read(s: Net, x: Tensor) -> Any:
        return s.last(F.relu(F.max_unpool2d(*s.pool(F.relu(s.c1(x))), 2).mean((2, 3))))

    def unpacked(s: Net, x: Tensor) -> Any:
        values, _ = s.pool(F.relu(s.c1(x)))
        largest, _ = values.max(3)
        return s.last(F.relu(largest.mean(2)))

    def twice(s: Net, x: Tensor) -> Any:
        both = s.pool(F.relu(s.c1(x)))
        return s.last(F.relu((both[0] + both[0] * 2).mean((2, 3))))

    pool, last = nn.MaxPool2d(2, return_indices=True), nn.Linear(4, 3)
    for body, neurons in ((unpacked, 2), (twice, 3)):
        check(Net(body, pool=pool, last=last), neurons=neurons)
    found = kinds(check(Net(unread, pool=pool, last=last), neurons=2))
    assert found == ["max_pool", "neuron", "neuron"]
    assert pool.return_indices
    for analog in (False, True, ["pool"]):
        with pytest.raises(ConversionError, match="max pooling that returns indices has no spikin"):
            converted(Net(read, pool=pool, last=last), analog=analog)


def _mean(h: Tensor) -> Tensor:
    return h if h.dim() == 2 else h.flatten(2).mean(2)


def test_it_moves_into_a_concatenation() -> None:
    """As in GoogLeNet: every part is pooled for itself, before its neurons."""

    def body(s: Net, x: Tensor) -> Any:
        both = torch.cat([F.relu(s.c1(x)), F.relu(s.d1(x)), F.relu(s.c1(x * 2))], 1)
        return s.last(F.relu(s.wide(F.max_pool2d(both, 3, 2))).mean((2, 3)))

    layers = {"d1": nn.Conv2d(2, 3, 1), "wide": nn.Conv2d(11, 4, 1), "last": nn.Linear(4, 3)}
    snn = check(Net(body, **layers), neurons=4)
    order = kinds(snn)
    assert order.count("max_pool") == 3 and order[0] == "max_pool" and order[-1] == "neuron"
    assert [step.shape for step in snn.program.neurons()][:3] == [(4, 3, 3), (3, 3, 3), (4, 3, 3)]


@pytest.mark.parametrize(
    "join",
    (
        lambda a, b: torch.cat([a, b], 2)[:, :, 4:12],  # read by a slice, not by the pool alone
        lambda a, b: torch.cat([a, -b], 1)[:, 2:6],
        lambda a, b: torch.cat([a, b + 0.1], 1),
        lambda a, b: torch.cat([a, b], 2),
    ),
)
def test_where_it_cannot_move_into_one(join: Any) -> None:
    """Along a pooled dimension, or of what is no neuron: it stays, and is pooled in time."""

    def body(s: Net, x: Tensor) -> Any:
        pooled = F.max_pool2d(join(F.relu(s.c1(x)), F.relu(s.c1(x * 2))), 2)
        return s.head(F.relu(s.c2(pooled[:, :4])))

    snn = check(Net(body), neurons=3, T=1024)
    assert kinds(snn) == ["neuron", "neuron", "max_pool", "neuron"]


IN_TIME: dict[str, Any] = {
    "of a layer": lambda s, h: F.max_pool2d(s.c2(h), 2),
    "of a sum of spikes": lambda s, h: F.max_pool2d(h + F.relu(s.c2(h)), 2),
    "of a difference": lambda s, h: F.max_pool2d(h - F.relu(s.c2(h)), 2),
    "behind batch norm": lambda s, h: F.max_pool2d(s.norm(h), 2),
    "over all": lambda s, h: s.c2(h).amax((2, 3), keepdim=True),
    "of a mean": lambda s, h: F.max_pool2d(F.avg_pool2d(h, 3, 1), 2),
}


@pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))
@pytest.mark.parametrize("name", IN_TIME)
def test_pooled_in_time_where_it_cannot_move(name: str, signed: bool) -> None:
    """On running sums, so that the error vanishes with T as 1 / T, with no floor."""
    norm = nn.BatchNorm2d(4).eval()
    nn.init.uniform_(norm.weight, -1, 1)
    pool = IN_TIME[name]
    net = Net(lambda s, x: s.head(F.relu(pool(s, F.relu(s.c1(x))) + 0.1)), norm=norm).eval()
    x = images(16)
    snn = converted(net, x, signed=signed)
    assert "max_pool" in kinds(snn)[1:]
    with torch.no_grad():
        errors = [relative_error(snn(x, T=T), net(x)) for T in (32, 128, 512)]
    assert errors[2] < errors[0] / 4 and errors[2] < 0.02


def test_pooling_every_step_for_itself_would_not_do() -> None:
    """What others do: the mean of maxima is not the maximum of means, and stays so."""
    net, x = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2, 1), nn.MaxPool2d(2)), None
    x = images(16)
    snn = converted(net, x)
    with torch.no_grad():
        wanted = net(x)
        assert relative_error(snn(x, T=1024), wanted) < 0.005
        spikes = snn.populations()["_1"].run(net[0](x), 1024, emit="psp")[0]
        each_step = net[3](net[2](spikes.flatten(0, 1))).unflatten(0, (1024, 16)).mean(0)
    assert relative_error(each_step, wanted) > 0.05


REFUSED: dict[str, tuple[Any, str]] = {
    "window of the input's size": (
        lambda h: F.interpolate(F.max_pool2d(h, h.shape[2:]), scale_factor=4.0),
        "give numbers, or take amax",
    ),
    "indices": (
        lambda h: F.max_unpool2d(*F.max_pool2d(h, 2, return_indices=True), 2),
        "set return_indices=False",
    ),
    "max and where": (lambda h: h * h.max(1, keepdim=True)[1], "max without its indices"),
    "largest of all": (lambda h: h + h.max(), "mixes the images of a batch"),
    "over images": (lambda h: h + h.amax(0), "mixes the images of a batch"),
    "min": (lambda h: h.min(3, keepdim=True)[0], "no spiking form of it; take amax, or max"),
    "top": (lambda h: h.topk(2, 1)[0].sum(1, keepdim=True) + h, "no spiking form of it; take amax"),
    "LPPool2d": (nn.LPPool2d(2, 2), "take a max or an average pool"),
    "lp_pool2d": (lambda h: F.lp_pool2d(h, 2, 2), "take a max or an average pool"),
    "fractional": (nn.FractionalMaxPool2d(2, output_size=4), "take a max or an average pool"),
    "two signals": (lambda h: torch.maximum(h, h.flip(1)), "no spiking form of it"),
}


def test_a_pool_before_neurons_is_not_said_to_stand_after_the_last() -> None:
    """Though its indices are read there alone."""

    def body(s: Net, x: Tensor) -> Any:
        h, indices = F.max_pool2d(F.relu(s.c1(x)), 2, return_indices=True)
        return s.head(F.max_unpool2d(F.relu(s.c2(h)), indices, 2))

    pool, unpool = refusal(Net(body))
    assert "keeps it as it is" not in pool.reason
    assert "after the last neuron, so analog=" in unpool.reason


@pytest.mark.parametrize("name", REFUSED)
def test_else_it_is_an_error_that_says_what_to_do(name: str) -> None:
    pool, says = REFUSED[name]
    net = Net(lambda s, x: s.head(F.relu(s.c2(s.pool(F.relu(s.c1(x)))))), pool=pool)
    assert any(says in problem.reason for problem in refusal(net))
