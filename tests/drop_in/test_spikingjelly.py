"""SpikingJelly 2.0.0: equal spikes and potentials, and its functions find what they look for."""

from __future__ import annotations

import copy
import gc
import io
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, replace_neurons
from spikeconv.surrogate import ATan, FromSpikeFunction, PiecewiseLinear, Sigmoid
from tests.drop_in.libraries import (
    SHAPES,
    assert_equal,
    gradients,
    library,
    reasons,
    replaced,
    steps,
)

pytestmark = pytest.mark.spikingjelly

neuron: Any = library("spikingjelly.activation_based.neuron")
functional: Any = library("spikingjelly.activation_based.functional")
surrogate: Any = library("spikingjelly.activation_based.surrogate")
base: Any = library("spikingjelly.activation_based.base")
ann2snn: Any = library("spikingjelly.activation_based.ann2snn")

PER_CHANNEL = torch.tensor([0.3, 0.5, 1.0, 1.25, 2.0])
MAKERS: dict[str, Callable[..., nn.Module]] = {
    "soft": lambda **k: neuron.IFNode(v_reset=None, **k),
    "hard": lambda **k: neuron.IFNode(**k),
    "hard to -0.3": lambda **k: neuron.IFNode(0.7, v_reset=-0.3, **k),
    "soft at 0.1": lambda **k: neuron.IFNode(0.1, None, **k),
    "half": lambda **k: neuron.HalfThresholdIFNode(0.7, **k),
    "channels": lambda **k: neuron.ActivationAwareIFNode(PER_CHANNEL, channel_dim=1, **k),
    "channels, hard": lambda **k: neuron.ActivationAwareIFNode(
        PER_CHANNEL, channel_dim=1, v_reset=0.25, **k
    ),
    "aware, one threshold": lambda **k: neuron.ActivationAwareIFNode(0.6, **k),
}


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What SpikingJelly logs."""
    logger = library("spikingjelly.logger").logger
    messages: list[str] = []
    logger.enable("spikingjelly")
    sink = logger.add(messages.append, level="WARNING")
    yield messages
    logger.remove(sink)
    logger.disable("spikingjelly")


def runs(shape: tuple[int, ...], step_mode: str) -> list[Tensor]:
    """Inputs of several calls without a reset in between."""
    x = steps(*shape, T=12)
    return list(x) if step_mode == "s" else [x[:5], x[5:6], x[6:]]


@pytest.mark.parametrize("store_v_seq", [False, True])
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("maker", MAKERS)
def test_spikes_and_potentials_are_equal(maker: str, step_mode: str, store_v_seq: bool) -> None:
    for shape in SHAPES:
        theirs = MAKERS[maker](step_mode=step_mode, store_v_seq=store_v_seq)
        mine = replaced(theirs)
        assert isinstance(mine, IFNode)
        for _ in range(2):
            for x in runs(shape, step_mode):
                assert_equal(mine(x), theirs(x))
                assert_equal(mine.v, theirs.v)
                if type(theirs) is not neuron.ActivationAwareIFNode or step_mode == "m":
                    assert_equal(mine.v_seq, theirs.v_seq)  # it keeps no trace of single steps
            for net in (mine, theirs):
                functional.reset_net(net)
            assert mine.v == theirs.v
            assert mine.v_seq is None


def test_the_simple_node_too() -> None:
    for v_reset in (None, 0.0, -0.5):
        theirs = neuron.SimpleIFNode(0.6, v_reset, step_mode="m")
        mine = replaced(theirs)
        for x in runs((2, 5), "m"):
            assert_equal(mine(x), theirs(x))
            assert_equal(mine.v, theirs.v)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_double_sees_all_digits_of_a_threshold(step_mode: str) -> None:
    for make in (neuron.IFNode, neuron.HalfThresholdIFNode):
        theirs = make(0.1, step_mode=step_mode)
        mine = replaced(theirs)
        for x in runs((2, 5), step_mode):
            assert_equal(mine(x.double()), theirs(x.double()))
            assert_equal(mine.v, theirs.v)


def test_a_potential_in_full_is_what_sixteen_bits_get() -> None:
    mine = replaced(neuron.IFNode(v_reset=None, step_mode="m"))
    x = steps(2, 5)
    for dtype in (torch.float16, torch.bfloat16):
        mine.reset()
        spikes = mine(x.to(dtype))
        assert spikes.dtype == dtype
        assert mine.v.dtype == torch.float32
        assert torch.equal(spikes.float(), IFNode()(x.to(dtype).float()))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_state_is_taken_over_and_so_is_what_reset_goes_back_to(step_mode: str) -> None:
    for make in (neuron.IFNode, neuron.HalfThresholdIFNode, neuron.ActivationAwareIFNode):
        theirs = make(step_mode=step_mode, store_v_seq=True)
        theirs.set_reset_value("v", 0.375)
        for x in runs((2, 5), step_mode):
            theirs(x)
        mine = replaced(theirs)
        assert_equal(mine.v, theirs.v)
        assert_equal(mine.v_seq, theirs.v_seq)
        for _ in range(2):
            for x in runs((2, 5), step_mode):
                assert_equal(mine(x), theirs(x))
            for net in (mine, theirs):
                net.reset()
            assert mine.v == theirs.v == 0.375


def test_a_number_that_was_put_into_v_is_where_it_starts() -> None:
    theirs = neuron.IFNode()
    theirs.v = 0.75
    mine = replaced(theirs)
    assert mine.v == 0.75
    x = torch.tensor([0.25, 0.0])
    assert_equal(mine(x), theirs(x))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_another_batch_shape_is_an_error_until_reset(step_mode: str) -> None:
    net = nn.Sequential(neuron.IFNode(step_mode=step_mode))
    replace_neurons(net)
    time = () if step_mode == "s" else (3,)
    net(torch.ones(*time, 4, 5))
    with pytest.raises(ValueError, match=r"\[4, 5\] neurons.*got \[2, 5\].*reset_net"):
        net(torch.ones(*time, 2, 5))
    functional.reset_net(net)
    net(torch.ones(*time, 2, 5))


def test_their_functions_take_ours_for_theirs(warned: list[str]) -> None:
    net = nn.Sequential(neuron.IFNode(v_reset=None), neuron.LIFNode(), neuron.HalfThresholdIFNode())
    reference = copy.deepcopy(net)
    functional.reset_net(net)  # which caches the modules to reset, by identity
    replace_neurons(net)
    for x in steps(3, 5):
        net(x)
    gc.collect()
    functional.reset_net(net)
    assert (net[0].v, net[2].v) == (0.0, 0.5)
    x = steps(3, 5)
    for each in (net, reference):
        functional.set_step_mode(each, "m")
    assert net[0].step_mode == net[2].step_mode == "m"
    assert_equal(net(x), reference(x))
    net(x.clone().requires_grad_())
    assert net[0].v.requires_grad
    functional.detach_net(net)
    assert not net[0].v.requires_grad
    assert not warned
    functional.reset_net(nn.Sequential(IFNode(step_mode="s")))  # found too, with a remark
    assert "not a MemoryModule" in "".join(warned)


def test_the_potential_is_one_of_their_memories() -> None:
    net = nn.Sequential(nn.Linear(5, 5), neuron.IFNode(v_reset=None, step_mode="m"))
    mine = replaced(net)
    x = steps(3, 5)
    wanted, state = base.to_functional_forward(net)((x,), (0.0,))
    got, mine_state = base.to_functional_forward(mine)((x,), (0.0,))
    assert_equal(got, wanted)
    assert_equal(mine_state, state)
    assert mine[1].v == 0.0
    assert len(base.extract_memories(mine)) == 1


def test_checkpoints_are_what_they_were() -> None:
    net = nn.Sequential(nn.Linear(5, 5), neuron.IFNode(), neuron.HalfThresholdIFNode(0.5))
    checkpoint = copy.deepcopy(net.state_dict())
    replace_neurons(net)
    assert net.state_dict().keys() == checkpoint.keys()
    net.load_state_dict(checkpoint)
    assert not list(net[1].parameters())


SURROGATES = {
    "Sigmoid": Sigmoid(3.0),
    "ATan": ATan(3.0),
    "PiecewiseQuadratic": PiecewiseLinear(1 / 3.0),
}


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("v_reset", [None, 0.0, -0.5])
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize(
    "name", ["Sigmoid", "ATan", "PiecewiseQuadratic", "Erf", "SoftSign", "S2NN", "LeakyKReLU"]
)
def test_gradients_are_theirs(
    name: str, step_mode: str, v_reset: float | None, detach_reset: bool
) -> None:
    kind = getattr(surrogate, name)
    function = kind(alpha=3.0) if "alpha" in kind.__init__.__code__.co_varnames else kind()
    theirs = neuron.IFNode(0.75, v_reset, function, detach_reset, step_mode)
    mine = replaced(theirs)
    assert mine.detach_reset is detach_reset
    if name in SURROGATES:
        assert mine.surrogate_function == SURROGATES[name]
    else:
        assert isinstance(mine.surrogate_function, FromSpikeFunction)

    def call(net: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = net(x) if step_mode == "m" else torch.stack([net(step) for step in x])
        return out

    x = steps(6, 5)
    spikes, gradient = gradients(mine, x, call)
    their_spikes, their_gradient = gradients(theirs, x, call)
    assert_equal(spikes, their_spikes)
    assert their_gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-5, atol=1e-6)


def test_every_surrogate_is_known_for_what_it_is() -> None:
    u = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 3.0])
    steps_known = 0
    for name, kind in vars(surrogate).items():
        if not isinstance(kind, type) or not issubclass(kind, surrogate.SurrogateFunctionBase):
            continue
        if kind is surrogate.SurrogateFunctionBase:
            continue
        function = kind(4) if name == "MultiLevelSpikeCount" else kind()
        net = nn.Sequential(neuron.IFNode(surrogate_function=function))
        if replace_neurons(net).replaced:
            assert_equal(function(u), (u >= 0).float())
            # A derivative does not depend on what it is multiplied with.
            x = u.clone().requires_grad_()
            one, two = (
                torch.autograd.grad(function(x), x, scale * torch.ones_like(x))[0]
                for scale in (1.0, -2.0)
            )
            torch.testing.assert_close(two, -2.0 * one)
            steps_known += 1
        else:
            assert name in {
                *("DeterministicPass", "FakeNumericalGradient", "MultiLevelSpikeCount"),
                "PoissonPass",
            }
    assert steps_known >= 14


def test_hooks_mode_attributes_and_identity_stay() -> None:
    seen: list[str] = []
    node = neuron.IFNode()
    node.label = "first"
    handle = node.register_forward_hook(lambda module, args, out: seen.append(module.label))
    node.register_forward_pre_hook(lambda module, args: seen.append("before"))
    net = nn.ModuleDict({"a": node, "b": node, "c": nn.Sequential(node)}).eval()
    report = replace_neurons(net)
    assert net["a"] is net["b"] is net["c"][0] is node
    assert [(x.path, x.also_at) for x in report.replaced] == [("a", ("b", "c.0"))]
    assert not node.training
    net["b"](torch.ones(2))
    assert seen == ["before", "first"]
    handle.remove()
    net["b"](torch.ones(2))
    assert seen == ["before", "first", "before"]


def test_the_network_itself_may_be_a_neuron() -> None:
    node = neuron.IFNode(v_reset=None)
    report = replace_neurons(node)
    assert [layer.path for layer in report.replaced] == [""]
    assert isinstance(node, IFNode)
    assert node(torch.tensor([1.5])).item() == 1.0
    again = replace_neurons(node)
    assert (again.replaced, again.left) == ((), ())


def saved(module: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved])
def test_copies_keep_the_state_and_go_their_own_way(copied: Any) -> None:
    node = replaced(neuron.IFNode(v_reset=None))
    x = steps(3, 5)
    node(x[0].clone().requires_grad_())
    twin = copied(node)
    assert type(twin) is type(node)
    assert_equal(twin.v, node.v.detach())
    with torch.no_grad():
        wanted = node(x[1])
        assert_equal(twin(x[1]), wanted)
    twin.reset()
    assert twin.v == 0.0
    assert isinstance(node.v, Tensor)


def test_state_and_thresholds_move_along() -> None:
    node = replaced(neuron.ActivationAwareIFNode(PER_CHANNEL, channel_dim=1))
    node(steps(2, 5)[0])
    node.to("meta")
    assert node.v.is_meta
    assert node.v_threshold.is_meta


def test_compiled_code_gives_the_same() -> None:
    for step_mode in ("s", "m"):
        torch._dynamo.reset()
        theirs = neuron.IFNode(v_reset=None, step_mode=step_mode)
        compiled = torch.compile(replaced(theirs), backend="aot_eager", fullgraph=True)
        with torch.no_grad():
            for x in runs((2, 5), step_mode):
                assert_equal(compiled(x), theirs(x))
    torch._dynamo.reset()


def test_what_means_something_else_is_left_with_the_reason() -> None:
    class Louder(neuron.IFNode):  # type: ignore[misc]
        def single_step_functional_forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().single_step_functional_forward(*args, **kwargs)

    class OwnStep(surrogate.Sigmoid):  # type: ignore[misc]
        pass

    patched = neuron.IFNode()
    patched.forward = lambda x: x
    learned = neuron.IFNode()
    del learned.v_threshold
    learned.v_threshold = nn.Parameter(torch.tensor(1.0))
    negative = neuron.IFNode(-1.0)
    compiled = neuron.IFNode()
    compiled.compile(backend="eager")
    cases = [
        (neuron.LIFNode(), "LIFNode leaks"),
        (neuron.ParametricLIFNode(), "ParametricLIFNode leaks"),
        (neuron.QIFNode(), "QIFNode leaks"),
        (neuron.NonSpikingIFNode(), "NonSpikingIFNode is no plain IF neuron"),
        (neuron.ActivationAwareIFNode(v_offset=0.25), "fires on v + v_offset"),
        (Louder(), "Louder is IFNode with its own single_step_functional_forward"),
        (patched, "forward was set on the module itself"),
        (compiled, "compiled by its compile"),
        (learned, "v_threshold is learned"),
        (negative, "v_threshold must be positive"),
        (neuron.IFNode(v_reset=math.inf), "v_reset must be finite"),
        (neuron.ActivationAwareIFNode().to("meta"), "no data yet"),
        (neuron.IFNode(surrogate_function=OwnStep()), "OwnStep, of which it is not known"),
        (neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)), "smooth"),
        (neuron.IFNode(surrogate_function=lambda u: u), "plain function"),
        (neuron.IFNode(surrogate_function=surrogate.PoissonPass()), "does not emit a step"),
    ]
    for module, why in cases:
        before = type(module)
        (reason,) = reasons(nn.Sequential(module))
        assert why in reason
        assert type(module) is before


def test_a_subclass_that_only_constructs_is_replaced() -> None:
    class Soft(neuron.IFNode):  # type: ignore[misc]
        """With other defaults."""

        def __init__(self) -> None:
            super().__init__(0.5, None, step_mode="m")

    theirs = Soft()
    x = steps(2, 5)
    mine = replaced(nn.Sequential(Soft()))
    assert_equal(mine(x), theirs(x))


class Body(nn.Module):
    """A little of everything that a converted network may hold, with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_relu = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 10))

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu(self.norm(self.conv(x)))
        out: Tensor = self.head(self.pool(self.second_relu(self.second(first) + first)))
        return out


RECIPES: dict[str, dict[str, Any]] = {
    "maximum": {},
    "percentile": {"mode": "99.9%"},
    "channels": {"mode": "Max", "channel_wise": True},
    "half threshold": {"mode": "99.9%", "channel_wise": True, "half_threshold": True},
}


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("recipe", [*RECIPES, "balanced"])
def test_a_network_of_their_converter_has_equal_logits(recipe: str, step_mode: str) -> None:
    torch.manual_seed(0)
    ann = Body().eval()
    loader = [(torch.rand(4, 3, 8, 8), torch.zeros(4)) for _ in range(2)]
    if recipe == "balanced":
        rule = ann2snn.LocalThresholdBalancingRecipe(loader)
    else:
        rule = ann2snn.RateCodingRecipe(loader, **RECIPES[recipe])
    theirs = ann2snn.Converter(rule).convert(ann).eval()
    mine = replaced(theirs)
    assert sum(isinstance(module, IFNode) for module in mine.modules()) == 2
    images = torch.rand(5, 3, 8, 8)
    outputs = []
    with torch.no_grad():
        for net in (theirs, mine):
            functional.set_step_mode(net, step_mode)
            functional.reset_net(net)
            if step_mode == "s":
                outputs.append(torch.stack([net(images) for _ in range(8)]))
            else:
                outputs.append(net(images.expand(8, *images.shape)))
    assert outputs[0].abs().max() > 0
    assert_equal(outputs[1], outputs[0])
