"""What torch.fx does not see of a forward: what goes by values all the same is never converted."""

from __future__ import annotations

import contextlib
import copy
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.models import build_model
from tests.convert.nets import Net, check, converted, images, refusal, settled


def tail(s: Net, x: Tensor) -> Any:
    return s.head(F.relu(s.c2(F.relu(s.c1(x)))))


def as_an_array(s: Net, x: Tensor) -> Any:
    with contextlib.suppress(Exception):
        if np.asarray(x).max() > 100:
            x = -x
    return tail(s, x)


def as_a_number(s: Net, x: Tensor) -> Any:
    try:
        if float(x.max()) > 100:
            x = x / 255
    except Exception:
        pass
    return tail(s, x)


def assigned(s: Net, x: Tensor) -> Any:
    with contextlib.suppress(Exception):
        x[x > 100] = 100
    return tail(s, x)


def sized_by_values(size: Any) -> Any:
    return lambda s, x: tail(s, -x if size(x) else x)


VALUES: dict[str, Any] = {
    "a number": as_a_number,
    "an array": as_an_array,
    "assigned": assigned,
    "nonzero": sized_by_values(lambda x: len((x > 100).nonzero())),
    "its parts": sized_by_values(lambda x: [i for i in (x > 100).nonzero().unbind(0)]),
    "where": sized_by_values(lambda x: torch.where(x > 100)[0].numel()),
    "bincount": sized_by_values(lambda x: len(torch.bincount((x > 100).flatten().int())) > 1),
    "one hot": sized_by_values(lambda x: F.one_hot((x > 100).long()).shape[-1] > 1),
    "repeated": sized_by_values(lambda x: len(torch.repeat_interleave((x > 100).flatten().long()))),
    "arange": sized_by_values(lambda x: len(torch.arange((x > 100).any().int()))),
    "a slice": sized_by_values(lambda x: x.flatten()[: (x > 100).any().int()].numel()),
    "narrow": sized_by_values(lambda x: x.flatten().narrow(0, 0, (x > 100).any().int()).numel()),
}


@pytest.mark.parametrize("body", VALUES.values(), ids=VALUES)
def test_what_values_decide_is_refused(body: Any) -> None:
    """On all calibration images the forwards do the same."""
    assert refusal(Net(body))


def test_what_type_of_tensor_it_is() -> None:
    """torch.fx's stand-in is of none, by which this one is the other network on bright images."""

    def body(s: Net, x: Tensor) -> Any:
        return tail(s, x.clamp(max=50) if type(x) is Tensor else x)

    (problem,) = refusal(Net(body))
    assert "its analog form is the network's on calibration images, but not" in problem.reason


def test_settings_of_a_layer_that_change_within_a_forward() -> None:
    def body(s: Net, x: Tensor) -> Any:
        s.act.max_val = 30.0
        y = s.act(s.c1(x))
        s.act.max_val = 60.0
        return s.head(y + s.act(s.c2(y)))

    (problem,) = refusal(Net(body, act=nn.Hardtanh(0.0, 60.0)))
    assert "bright" in problem.reason


RANDOM: dict[str, Any] = {
    "torch": lambda s, x: tail(s, -x if torch.rand(()) < 1e-6 else x),
    "in place": lambda s, x: tail(s, -x if torch.empty(1).uniform_() < 1e-6 else x),
    "python": lambda s, x: tail(s, -x if random.random() < 1e-6 else x),
    "numpy": lambda s, x: tail(s, -x if np.random.rand() < 1e-6 else x),
    "a size": lambda s, x: tail(s, -x if torch.rand(x.shape[1])[0] < 1e-6 else x),
    "beside sizes": lambda s, x: tail(
        s, -x if x.shape[-1] > 4 and torch.empty(1).uniform_() < 1e-6 else x
    ),
    "python's beside sizes": lambda s, x: tail(
        s, -x if x.shape[-1] > 4 and random.random() < 1e-6 else x
    ),
}


@pytest.mark.parametrize("body", RANDOM.values(), ids=RANDOM)
def test_a_draw_that_decides_is_refused(body: Any) -> None:
    assert refusal(Net(body))


def test_a_draw_by_a_generator_of_its_own_is_a_constant() -> None:
    def body(s: Net, x: Tensor) -> Any:
        noise = torch.rand(1, generator=torch.Generator().manual_seed(1))
        return tail(s, x + noise)

    check(Net(body), neurons=2)


def test_another_thread_draws() -> None:
    """Its draws are none of the forward's."""
    over = threading.Event()

    def draw() -> None:
        generator = np.random.default_rng(0)
        while not over.is_set():
            torch.rand(1 + int(generator.integers(5)))
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(5):
            converted(Net(tail))
    finally:
        over.set()
        thread.join()


KNOWN: dict[str, Any] = {
    "a set": lambda s, x: tail(s, -x if x.shape[-1] in {7, 9} else x),
    "a dict": lambda s, x: tail(s, x * {8: 0.5}.get(x.shape[-1], 1.0)),
    "a dict of dtypes": lambda s, x: tail(s, x * {torch.float32: 0.5}[x.dtype]),
    "a dtype with a default": lambda s, x: tail(s, x * {torch.float32: 0.5}.get(x.dtype, 1.0)),
    "a set of dtypes": lambda s, x: tail(s, x / 2 if x.dtype in {torch.float32} else x),
    "a device by name": lambda s, x: tail(s, x / 2 if x.device.type in {"cpu"} else x),
    "a device as text": lambda s, x: tail(s, x / 2 if str(x.device) == "cpu" else x),
    "a dtype by name": lambda s, x: tail(s, x / 2 if "float32" in str(x.dtype) else x),
    "a name": lambda s, x: tail(s, x * {"8x2": 0.5}[f"{x.shape[-1]}x{x.shape[1]}"]),
    "text": lambda s, x: tail(s, x * {"8": 0.5}[str(x.shape[-1])]),
    "text with a default": lambda s, x: tail(s, x * getattr(s, f"gain{x.shape[1]}", 1.0)),
    "a set of ranks": lambda s, x: tail(s, -x if x.dim() in {3, 5} else x),
}


@pytest.mark.parametrize("body", KNOWN.values(), ids=KNOWN)
def test_keys_are_what_they_stand_for(body: Any) -> None:
    net = Net(body)
    net.gain2 = 0.5
    check(net, neurons=2)


def test_a_size_in_a_set_holds_for_that_size() -> None:
    snn = converted(Net(KNOWN["a set"]))
    with pytest.raises(
        ValueError, match=r"x must be like \[B, 2, 8, 8\], got shape \[2, 2, 9, 9\]"
    ):
        snn(images(2, 2, 9, 9))


ORDINARY: dict[str, Any] = {
    "an attribute of others": lambda s, x: tail(s, x.tensors if hasattr(x, "tensors") else x),
    "one with a default": lambda s, x: tail(s, x * getattr(x, "gain", 1.0)),
    "a deep copy": lambda s, x: tail(s, copy.deepcopy(x) + copy.copy(x)),
    "NumPy's product of sizes": lambda s, x: s.fc(
        F.relu(s.c1(x)).reshape(-1, int(np.prod(x.size()[1:])) // 32, 32).mean(2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("body", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_forwards(body: Any) -> None:
    net = Net(body)
    if body is ORDINARY["NumPy's product of sizes"]:
        net.fc = nn.Linear(4, 3)
        net.c1 = nn.Conv2d(2, 2, 3, padding=1)
    check(net, neurons=1 if body is ORDINARY["NumPy's product of sizes"] else 2)


def test_a_forward_that_fails_on_one_image() -> None:
    (problem,) = refusal(Net(lambda s, x: tail(s, x * (1 / (x.shape[0] - 1)))))
    assert "it fails on images [2, 8, 8] of the calibration data" in problem.reason
    assert "division by zero" in problem.reason and problem.line.startswith(__file__)


def test_a_value_that_is_kept_and_read() -> None:
    class Largest(Net):
        largest = torch.tensor(1.0)

        def forward(self, x: Tensor) -> Any:
            self.largest = torch.maximum(self.largest, x.abs().amax())
            return tail(self, x / self.largest)

    assert refusal(Largest(tail))


def test_a_running_statistic() -> None:
    """The second call on the same images changes it no more, those on brighter ones do."""

    def body(s: Net, x: Tensor) -> Any:
        s.largest.copy_(torch.maximum(s.largest, x.abs().amax()))
        return tail(s, x / s.largest)

    net = Net(body)
    net.register_buffer("largest", torch.tensor(1.0))
    assert refusal(net)


@pytest.mark.parametrize("pad", (lambda n: n // 3, lambda n: max(0, n - 2)))
def test_a_number_that_only_more_images_change(pad: Any) -> None:
    def padded(s: Net, x: Tensor) -> Any:
        return tail(s, F.pad(x, (pad(x.shape[0]), 0)))

    def added(s: Net, x: Tensor) -> Any:
        return tail(s, x + torch.full((1, 1, 1, 1), pad(x.shape[0])))

    for body in (padded, added):
        assert refusal(Net(body))


def test_closures_are_copied_with_the_network() -> None:
    """A hook keeps an activation beside the network, and forward reads that of the same call."""
    kept: dict[str, Tensor] = {}

    class Kept(Net):
        def __init__(self) -> None:
            super().__init__(tail)
            self.c1.register_forward_hook(lambda module, args, output: kept.update(h=output))
            self.kept = kept
            self.doubled = lambda h: self.c2(h) * 2

        def forward(self, x: Tensor) -> Any:
            y = F.relu(self.c1(x))
            return self.head(F.relu(self.doubled(y)) + F.relu(-self.kept["h"]))

    net, x = Kept(), images(1)
    net(x)
    before = kept["h"]
    snn = check(net, neurons=3)
    assert kept["h"] is not before and type(kept["h"]) is Tensor  # check called it, nobody else
    with torch.no_grad():
        torch.testing.assert_close(snn.analog(x), net(x))


class Trainer(nn.Module):
    """Not part of the network, holding what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.kept: dict[str, Tensor] = {}


def test_closures_over_what_cannot_be_copied() -> None:
    trainer = Trainer()
    net = Net(lambda s, x: tail(s, x + 0 * trainer.lock.locked()))
    for layer in (net.c1, net.c2):
        layer.register_forward_hook(lambda module, args, output: trainer.kept.update(h=output))
    check(net, neurons=2)


def test_closures_over_layers_in_a_tuple_and_over_weights() -> None:
    net = Net(lambda s, x: s.head(s.both(x)), c2=nn.Conv2d(1, 4, 3, padding=1))
    net.w = nn.Parameter(torch.randn(4, 4, 1, 1))
    layers, weight = (net.c1, net.c2), net.w
    net.both = lambda x: (
        F.relu(F.conv2d(F.relu(layers[0](x)), weight)) + F.relu(layers[1](x[:, :1]))
    )
    check(net, neurons=3)


def test_names_that_stand_for_what_is_not_there() -> None:
    """Asking them for anything is an error, and nobody does."""

    class Absent:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("outside of a request")

        def __call__(self) -> None: ...

    globals()["absent"] = Absent()
    try:
        check(Net(tail), neurons=2)
    finally:
        del globals()["absent"]


def test_many_levels_and_indices_are_held_against_each_other() -> None:
    """Where batch norms are folded, rounding flips a level, or a class of two that are equal."""
    for seed in range(4):
        torch.manual_seed(seed)
        ann = build_model("resnet20", activation="qcfs", levels=8, widths=(4, 8, 16))
        settled(ann)
        converted(ann, images(8, 3, 32, 32), threshold="qcfs")
    net = Net(lambda s, x: s.c3(F.relu(s.n(s.c1(x)))).argmax(1), c3=nn.Conv2d(4, 5, 1))
    net.n = nn.BatchNorm2d(4)
    snn = converted(settled(net), images(8, 2, 64, 64), analog=True)
    with torch.no_grad():
        assert snn(images(2, 2, 64, 64)).shape == (2, 64, 64)


_CACHE: dict[Any, Tensor] = {}


def test_a_grid_in_a_global_is_left_alone() -> None:
    def body(s: Net, x: Tensor) -> Any:
        if x.shape[-1] not in _CACHE:
            _CACHE[x.shape[-1]] = torch.linspace(0, 1, x.shape[-1])
        return tail(s, x + _CACHE[x.shape[-1]])

    _CACHE.clear()
    net = Net(body)
    converted(net)
    assert all(type(grid) is Tensor for grid in _CACHE.values())
    with torch.no_grad():
        assert net(images(2)).shape == (2, 3)
    check(net, neurons=2)


def test_a_tensor_of_the_same_kind() -> None:
    """Made of numbers, it is a constant, whatever it is made after."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(F.relu(s.c2(h * h.new_tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1))))

    check(Net(body), neurons=2)
