"""How networks are built: values read in several places, outputs, names, inputs, hooks."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from tests.convert.nets import Net, check, converted, images, refusal, relative_error

Pair = namedtuple("Pair", ("logits", "features"))


@dataclass(frozen=True)
class Answer:
    """What a network returns, with a value that its constructor computes."""

    logits: Tensor
    more: Any = None
    doubled: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", self.logits * 2)


class Holder:
    """An object that nobody can look into."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def test_sizes_read_before_and_after_the_last_neuron() -> None:
    """A size is that of the batch where it is read: T * B images before, B after."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        size, channels = h.shape, h.size(1)
        y = F.relu(s.c2(h.flatten(1).view(size).view(x.size(0), channels, 8, 8) / channels))
        return s.fc(y.view(x.shape[0], channels, -1).mean(2) / channels)

    check(Net(body), neurons=2)


def test_size_of_a_static_value_for_a_temporal_one() -> None:
    def body(s: Net, x: Tensor) -> Any:
        static = s.c1(x)
        h = F.relu(static).flatten(1).view(static.size())
        mean = h.mean((2, 3), keepdim=True).expand(x.size(0), 4, 8, 8)
        return s.head(F.relu(s.c2(h - mean)))

    check(Net(body), neurons=2)


def test_parts_of_a_split_read_before_and_after_the_last_neuron() -> None:
    def body(s: Net, x: Tensor) -> Any:
        left, right = F.relu(s.c1(x)).chunk(2, 1)
        y = F.relu(s.c3(left))
        return s.fc(torch.cat([y, right], 1).mean((2, 3)))

    check(Net(body, c3=nn.Conv2d(2, 2, 3, padding=1)), neurons=2)


def test_split_image_and_split_output() -> None:
    def body(s: Net, x: Tensor) -> Any:
        first, second = x.split(1, 1)
        return F.relu(s.c1(torch.cat([second, first], 1))).chunk(2, 1)

    check(Net(body), neurons=1)


def test_several_outputs() -> None:
    """A neuron, the image itself, a dict, a named tuple: the structure comes back."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return Pair(s.head(h), {"keys": h, "list": [x, h.mean(1)], "size": x.shape[1]})

    snn, x = check(Net(body), neurons=1), images(3)
    for readout, lead in (("mean", (3,)), ("all", (5, 3))):
        out = snn(x, T=5, readout=readout)
        assert type(out) is Pair and list(out.features) == ["keys", "list", "size"]
        assert out.logits.shape == (*lead, 3)
        assert out.features["keys"].shape == (*lead, 4, 8, 8)
        assert isinstance(out.features["list"], list)
        assert torch.equal(out.features["list"][0], x.expand(*lead, 2, 8, 8))
        assert out.features["size"] == 2


@pytest.mark.parametrize("wrap", (lambda y: y, lambda y: {"y": y}, lambda y: (1, y)))
def test_dataclasses(wrap: Any) -> None:
    """Joined from parts, marked and compared like a dict of their fields."""

    def answer(output: Any) -> Answer:
        found = output if isinstance(output, Answer) else list(tree(output))[-1]
        assert isinstance(found, Answer)
        return found

    def tree(output: Any) -> Any:
        return output.values() if isinstance(output, dict) else output

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return wrap(Answer(s.head(h), {"h": h}))

    net, x = Net(body), images(1100)
    snn = spikeconv.convert(net, x[:64], T=2, threshold="max", progress=False)
    assert all(tried.error > 0 for tried in snn.report().tried)
    torch.testing.assert_close(answer(snn.analog(x)).logits, answer(net(x)).logits)
    x[1] = torch.nan
    out = answer(snn(x))
    assert out.logits.shape == (1100, 3) and out.more["h"].shape == (1100, 4, 8, 8)
    assert torch.equal(out.logits.isnan().any(1).nonzero(), torch.tensor([[1]]))
    assert torch.equal(out.doubled[2:], 2 * out.logits[2:])
    running = answer(snn(x[2:5], readout="all"))
    assert running.logits.shape == (2, 3, 3)
    # Three images alone and among 1,100: a head may round by the size of the batch.
    torch.testing.assert_close(running.doubled[-1], out.doubled[2:5], rtol=1e-6, atol=1e-6)


def test_an_object_that_may_hide_tensors() -> None:
    (problem,) = refusal(Net(lambda s, x: {"out": Holder(s.head(F.relu(s.c1(x))))}))
    assert "it returns a Holder" in problem.reason and "dataclasses" in problem.reason


def test_output_without_neurons_before_it() -> None:
    """An output that is static is given for every step, like any other."""
    net = Net(lambda s, x: {"static": s.c1(x), "logits": s.head(F.relu(s.c1(x)))})
    snn = check(net, neurons=1)
    running = snn(images(3), T=4, readout="all")
    assert running["static"].shape == (4, 3, 4, 8, 8)
    assert torch.equal(running["static"][0], running["static"][3])


def test_names_that_a_module_dict_has_itself() -> None:
    """keys, type, input, x ... may be layers or neurons of a network."""
    names = ("keys", "values", "items", "pop", "update", "type", "forward", "input", "x", "T")
    layers = {f"{name}_": nn.ReLU() for name in names}

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.keys = nn.ReLU()
            self.values = nn.Conv2d(2, 2, 1)
            self.input = nn.ReLU()
            self.x = nn.Conv2d(2, 2, 1)
            self.pop = nn.ReLU()
            self.neurons = nn.Conv2d(2, 2, 1)
            self.layers = nn.ReLU()
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, type: Tensor) -> Tensor:
            items = self.keys(self.conv(type))
            x = self.pop(self.x(self.input(self.values(items))))
            return self.layers(self.neurons(x))

    check(Named(), neurons=4)


def test_further_arguments_with_defaults() -> None:
    """They keep their defaults, also where the forward's flow depends on them."""

    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 8)

        def forward(
            self, image: Tensor, mask: Tensor | None = None, *, features: bool = False, **rest: Any
        ) -> Tensor:
            h = F.relu(self.conv(image))
            if mask is not None:
                h = h * mask
            return h if features else h.flatten(1)

    snn = check(Optional(), neurons=1)
    assert snn(images(2)).shape == (2, 3)


def test_arguments_by_position_only() -> None:
    class ByPosition(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 8)

        def forward(self, image: Tensor, scale: float = 2.0, other: Any = None, /, *, by: Tensor):
            return F.relu(self.conv(image + by) * scale).flatten(1)

    net, x, y = ByPosition(), images(16), images(16)
    snn = spikeconv.convert(
        net, {"image": x, "by": y}, threshold="max", method="opi", progress=False
    )
    assert relative_error(snn(x, y, T=256), net(x, by=y)) < 0.02


def test_hooks_are_seen() -> None:
    """What a hook adds to a layer is part of the network."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    net[2].register_forward_hook(lambda module, args, output: F.relu(output - 0.1))
    net[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    check(net, neurons=2)


def test_what_a_hook_keeps_of_calls_is_its_owners() -> None:
    """Nothing of a conversion is left in it, neither images nor torch.fx's stand-ins for them."""
    seen: list[Any] = []
    net = Net(lambda s, x: s.head(F.relu(s.c1(x))))
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    converted(net)
    assert seen == []


def normalised(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return ((args[0] - 0.5) / 0.25,)


def doubled(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output * 2


def called_otherwise(net: nn.Module) -> None:
    forward = net.forward
    net.forward = lambda x: forward(-x)  # type: ignore[method-assign]


WRAPPED: dict[str, Callable[[nn.Module], Any]] = {
    "before": lambda net: net.register_forward_pre_hook(normalised),
    "after": lambda net: net.register_forward_hook(doubled),
    "a forward of its own": called_otherwise,
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_what_is_put_around_the_network_is_converted(wrapped: Any) -> None:
    for net in (
        Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x)))))),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten()),
    ):
        wrapped(net)
        check(net, neurons=2)


def test_a_call_of_its_own() -> None:
    class Doubling(Net):
        def __call__(self, x: Tensor) -> Any:
            return super().__call__(x * 2)

    check(Doubling(lambda s, x: s.head(F.relu(s.c1(x)))), neurons=1)


def test_modules_in_modules_and_in_lists() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()])

        def forward(self, x: Tensor) -> Tensor:
            y = x
            for layer in self.layers:
                y = layer(y)
            return x + y

    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sequential(Block(), Block()), nn.Flatten())
    snn = check(net, neurons=2)
    assert [row.layer for row in snn.report().rows] == ["1.0.layers.1", "1.1.layers.1"]


@pytest.mark.parametrize("training", (False, True))
def test_the_network_is_not_touched(training: bool) -> None:
    """Flags, parameters and statistics stay; the spiking network has storage of its own."""
    norms = {"n1": nn.BatchNorm2d(4), "n2": nn.BatchNorm2d(2)}
    net = Net(lambda s, x: s.head(s.relu(s.n1(s.c1(s.n2(x))) * s.w)), relu=nn.ReLU(True), **norms)
    net.w = nn.Parameter(torch.rand(4, 1, 1))
    net.train(training)
    net.n1.eval()
    net.c2.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = {name: module.training for name, module in net.named_modules()}
    gradients = {name: value.requires_grad for name, value in net.named_parameters()}

    snn = converted(net)

    assert {name: module.training for name, module in net.named_modules()} == modes
    assert {name: value.requires_grad for name, value in net.named_parameters()} == gradients
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    theirs = {value.data_ptr() for value in after.values()}
    assert theirs.isdisjoint(value.data_ptr() for value in snn.state_dict().values())
    # And in training mode it converts to what it is in evaluation mode.
    x = images()
    assert relative_error(snn.analog(x), net.eval()(x)) < 1e-6


def test_within_inference_mode() -> None:
    """The result is an ordinary module, whose parameters can be loaded."""
    net = Net(lambda s, x: s.head(s.relu(s.c1(x))), relu=nn.ReLU(True))
    with torch.inference_mode():
        snn = spikeconv.convert(net, images(), progress=False)
        inside = snn(images(2))
    assert not any(value.is_inference() for value in snn.state_dict().values())
    snn.load_state_dict(snn.state_dict())
    assert inside.shape == (2, 3)
