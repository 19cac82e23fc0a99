"""The copy that is converted: of what is wrapped, and of what cannot be copied."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel
from torchvision.models.feature_extraction import create_feature_extractor

from tests.convert.nets import converted, refusal


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


WRAPPERS: dict[str, Callable[[nn.Sequential], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "averaged": AveragedModel,
    "compiled": torch.compile,
    "both": lambda net: torch.compile(nn.DataParallel(net)),
    "parts": lambda net: nn.Sequential(torch.compile(net[0]), nn.DataParallel(net[1:])),
    "nested": lambda net: torch.compile(nn.Sequential(nn.DataParallel(net[0]), net[1:])),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_wrapped_around_a_network_does_not_matter(name: str) -> None:
    net, x = plain(), torch.randn(8, 4)
    wrapped = WRAPPERS[name](net)
    modules = list(wrapped.modules())
    snn = converted(wrapped, x)
    assert torch.equal(snn(x), converted(net, x)(x))
    assert not re.search("module|orig_mod", snn.report().rows[0].layer)
    assert list(wrapped.modules()) == modules


def test_a_hook_on_what_is_wrapped_around() -> None:
    net = nn.Sequential(nn.DataParallel(plain()), nn.ReLU())
    net[0].register_forward_hook(lambda module, args, output: output * 2)
    (problem,) = refusal(net, torch.randn(8, 4))
    assert problem.path == "0" and "register the hook on the module within" in problem.reason


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize(
    ("make", "path", "says"),
    (
        (
            lambda: torch.export.export(plain(), (torch.zeros(2, 4),)).module(),
            "",
            "as torch.export",
        ),
        (lambda: torch.jit.script(plain()), "", "compiled by torch.jit"),
        (lambda: torch.jit.trace(plain(), torch.zeros(1, 4)), "", "compiled by torch.jit"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(8), nn.ReLU()), "1", "no shape yet"),
        (lambda: nn.Sequential(nn.Linear(4, 8, device="meta"), nn.ReLU()), "0", "meta device"),
    ),
)
def test_what_has_nothing_to_copy(make: Callable[[], nn.Module], path: str, says: str) -> None:
    (problem,) = refusal(make(), torch.randn(8, 4))
    assert problem.path == path and says in problem.reason


@pytest.mark.parametrize("name", ("0.weight", "0.bias", "1.running_var", "3.weight"))
@pytest.mark.parametrize("value", (float("nan"), float("inf")))
def test_weights_that_are_not_finite_are_named(name: str, value: float) -> None:
    """Also those behind the last neuron, which no current shows."""
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    net.state_dict()[name].flatten()[-1] = value
    (problem,) = refusal(net)
    path, _, tensor = name.partition(".")
    assert problem.path == path
    assert f"its {tensor} holds NaN or infinity" in problem.reason


def test_a_weight_that_is_computed_is_named() -> None:
    """Of v = 0, g v / |v| is 0 / 0."""
    head = weight_norm(nn.Linear(8, 3))
    with torch.no_grad():
        head.parametrizations.weight.original1.zero_()  # type: ignore[union-attr,index]
    (problem,) = refusal(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), head))
    assert problem.path == "2" and "its weight holds NaN" in problem.reason


class Masked(nn.Sequential):
    """A class that is none of torch's; what it holds is its own affair."""


@pytest.mark.parametrize("trained", (False, True))
def test_a_mask_of_infinities_is_no_weight(trained: bool) -> None:
    net = Masked(*plain())
    mask = torch.tensor([0.0, -torch.inf])
    if trained:
        net.mask = nn.Parameter(mask)
    else:
        net.register_buffer("mask", mask)
    assert converted(net, torch.randn(8, 4))(torch.randn(2, 4)).isfinite().all()


def test_what_cannot_be_copied_is_named() -> None:
    net = plain()
    net[1].locks = [threading.Lock()]
    with pytest.raises(TypeError, match=r"convert: ann .* attribute '1\.locks' cannot: .*pickle"):
        converted(net, torch.randn(8, 4))


def test_hooks_on_gradients_and_state_dicts_stay_with_the_network() -> None:
    heard: list[str] = []
    net, x = plain(), torch.randn(8, 4)
    net[0].register_full_backward_hook(lambda *given: heard.append("gradient"))
    net[0].register_full_backward_pre_hook(lambda *given: heard.append("gradient"))
    net[2].register_state_dict_post_hook(lambda *given: heard.append("state dict"))
    net[2].register_load_state_dict_post_hook(lambda *given: heard.append("state dict"))
    snn = converted(net, x).trainable()
    snn(x).sum().backward()
    snn.load_state_dict(snn.state_dict())
    pickle.loads(pickle.dumps(snn))
    assert heard == []
    net(x.requires_grad_()).sum().backward()
    net.load_state_dict(net.state_dict())
    assert heard.count("gradient") == 2 and heard.count("state dict") == 2


class _Hooked(nn.Module):
    """Its own attributes are called like torch's."""

    num_hooks, use_hooks = 3, True

    def __init__(self) -> None:
        super().__init__()
        self.net, self.more_hooks, self.no_hooks = plain(), [lambda h: 2 * h], None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.net(x)
        return self.more_hooks[0](h) if self.more_hooks else h


class _Doubled(AveragedModel):
    def forward(self, *given: Tensor) -> Tensor:
        doubled: Tensor = self.module(*given) * 2
        return doubled


def test_what_only_looks_like_hooks_or_a_wrapper() -> None:
    x = torch.randn(8, 4)
    hooked = _Hooked()
    torch.testing.assert_close(converted(hooked, x).analog(x), hooked(x))
    (problem,) = refusal(_Doubled(plain()), x)
    assert "convert the network within" in problem.reason


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_parts_that_torchvision_takes_out_of_a_network() -> None:
    """A copy of theirs comes out in training mode."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    parts = create_feature_extractor(net.eval(), ["2"]).eval()
    assert copy.deepcopy(parts).training
    x = torch.randn(8, 2, 8, 8)
    snn = converted(parts, x)
    torch.testing.assert_close(snn.analog(x)["2"], parts(x)["2"])


@pytest.mark.parametrize("within", ["forward", "train"])
def test_batch_norm_that_a_network_trains_in_evaluation(within: str) -> None:
    class Trains(nn.Sequential):
        def train(self, mode: bool = True) -> Trains:
            super().train(mode)
            self[1].train(mode or within == "train")
            return self

        def forward(self, x: Tensor) -> Tensor:
            if within == "forward":
                self[1].train()
            out: Tensor = super().forward(x)
            return out

    net = Trains(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    (problem,) = refusal(net.eval(), torch.randn(8, 2, 8, 8))
    assert (problem.path, problem.operation) == ("1", "BatchNorm2d")
    assert "in training mode in a network that is not" in problem.reason


def test_an_error_that_prints_tensors_is_cut_short() -> None:
    @torch.jit.script
    def rectified(x: Tensor) -> Tensor:
        return torch.relu(x)

    class Scripted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = rectified(super().forward(x))
            return out

    (problem,) = refusal(Scripted(4, 3), torch.randn(8, 4))
    assert "Expected a value of type 'Tensor'" in problem.reason
    assert len(problem.reason) < 500
