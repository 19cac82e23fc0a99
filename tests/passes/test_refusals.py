"""What has no spiking form is refused: everything at once, with where it stands and why."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv.convert import ConversionError
from spikeconv.passes import examine
from tests.convert.nets import Net, between, converted, refusal

UNKNOWN = "neither as linear nor as a ReLU"
PRODUCT = "two values that both depend on the input"


class Block(nn.Module):
    """Three things that cannot be converted, two of them on lines of its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.conv(x))
        gate = torch.sigmoid(y.mean((2, 3), keepdim=True))
        return F.relu(y * gate)


def test_everything_at_once() -> None:
    net = nn.Sequential(Block(), nn.Sequential(nn.Dropout(), Block()), nn.Softmax(1))
    with pytest.raises(ConversionError) as caught:
        converted(net)
    problems = caught.value.problems
    assert [(p.path, p.operation) for p in problems] == [
        ("0.act", "SiLU"),
        ("0", "torch.sigmoid"),
        ("0", "operator.mul"),
        ("1.1.act", "SiLU"),
        ("1.1", "torch.sigmoid"),
        ("1.1", "operator.mul"),
        ("2", "Softmax"),
    ]
    _, first = inspect.getsourcelines(Block.forward)
    wanted = [f"{__file__}:{first + line}" for line in (1, 2, 3)]
    assert [p.line for p in problems[:3]] == wanted
    assert [p.line for p in problems[3:6]] == wanted
    assert [UNKNOWN in p.reason for p in problems] == [True, True, False, True, True, False, True]
    assert PRODUCT in problems[2].reason
    message = str(caught.value)
    assert message.startswith("convert: 7 things in this network cannot be converted:\n")
    for problem in problems:
        assert f"  - {problem.path}: {problem.operation}" in message
        assert problem.line in message and problem.reason in message


def test_it_is_a_value_error_that_is_exported() -> None:
    assert issubclass(spikeconv.ConversionError, ValueError)
    (problem,) = refusal(between(torch.tanh))
    assert str(problem) == f"(the network itself): torch.tanh at {problem.line}: {problem.reason}"


MODULES = [
    nn.SiLU(),
    nn.GELU(),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Softmax(1),
    nn.LogSoftmax(1),
    nn.LeakyReLU(),
    nn.PReLU(),
    nn.ELU(),
    nn.Hardswish(),
    nn.Hardsigmoid(),
    nn.Softplus(),
    nn.RReLU(),
    nn.LayerNorm(8),
    nn.GroupNorm(2, 4),
    nn.InstanceNorm2d(4),
    nn.LocalResponseNorm(2),
    nn.LPPool2d(2, 2),
    nn.FractionalMaxPool2d(2, output_size=4),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: type(m).__name__)
def test_modules(module: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), module, nn.Flatten())
    (problem,) = refusal(net)
    assert (problem.path, problem.operation) == ("2", type(module).__name__)


FUNCTIONS: dict[str, Any] = {
    "sigmoid": lambda h: torch.sigmoid(h),
    "softmax": lambda h: F.softmax(h, 1),
    "gelu": lambda h: F.gelu(h),
    "leaky_relu": lambda h: F.leaky_relu(h, 0.1),
    "sigmoid method": lambda h: h.sigmoid(),
    "abs": lambda h: torch.abs(h),
    "maximum": lambda h: torch.maximum(h, h.flip(3)),
    "power": lambda h: h**2,
    "square root": lambda h: h.sqrt(),
    "round": lambda h: torch.round(h),
    "floor division": lambda h: h // 2,
    "one over": lambda h: 1 / (h + 1),
    "comparison": lambda h: (h > 0) + h,
    "bound behind a pool": lambda h: F.max_pool2d(h, 2).clamp(max=3),
    "normalize": lambda h: F.normalize(h),
    "layer_norm": lambda h: F.layer_norm(h, (8,)),
    "amin": lambda h: h.amin((2, 3), keepdim=True),
    "norm": lambda h: h + torch.linalg.vector_norm(h, dim=1, keepdim=True),
    "bytes": lambda h: h.view(torch.int32) * 1.0,
    "int": lambda h: h.int() * 1.0,
    "zero_": lambda h: h.zero_(),
    "copy_": lambda h: h.copy_(h.flip(1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    problems = refusal(between(FUNCTIONS[name]))
    assert len(problems) == 1
    assert UNKNOWN in problems[0].reason or PRODUCT in problems[0].reason
    assert problems[0].line.startswith(__file__)


@pytest.mark.parametrize(
    ("function", "says"),
    (
        (lambda h: torch.sigmoid(h), "replace it by ReLU and train again"),
        (lambda h: h.clamp(-1, 1), "replace it by ReLU and train again"),
        (lambda h: F.selu(h), "replace it by ReLU and train again"),
        (lambda h: h.cumprod(1), "write it with ReLUs and what is linear"),
        (lambda h: h.sort(1)[0], "write it with ReLUs and what is linear"),
        (lambda h: torch.max(h[:, :2], h[:, 2:]).repeat(1, 2, 1, 1), "the larger is F.relu(a - b)"),
        (lambda h: torch.min(h, h.flip(1)), "the smaller a - F.relu(a - b)"),
        (lambda h: h.max(1, True)[1] * h, "take amax"),
        (lambda h: torch.where(h.mean(1, keepdim=True) > 0, h, 0.0), "write it with ReLUs"),
    ),
)
def test_only_an_activation_is_to_be_replaced(function: Any, says: str) -> None:
    assert any(says in problem.reason for problem in refusal(between(function)))


@pytest.mark.parametrize(
    "product",
    (
        lambda h: h * h,
        lambda h: torch.mul(h, h.flip(1)),
        lambda h: h.mul(other=h),
        lambda h: h / (h + 1),
        lambda h: h.div(h + 1),
        lambda h: 2 / (h + 1),
        lambda h: h @ h,
        lambda h: torch.bmm(h[:, 0], h[:, 1])[:, None].expand(-1, 4, -1, -1),
        lambda h: torch.matmul(h, other=h),
        lambda h: torch.einsum("bcij,bcjk->bcik", h, h),
        lambda h: F.conv2d(h, h[:1, :, :1, :1].expand(4, 4, 1, 1)),
    ),
)
def test_products_of_two_signals(product: Any) -> None:
    reasons = [problem.reason for problem in refusal(between(product))]
    assert any(PRODUCT in reason for reason in reasons)


def test_squeeze_and_excitation() -> None:
    """A gate of ReLUs alone is still a product of two signals."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(h * F.relu(h.mean((2, 3), keepdim=True)))

    assert [problem.reason.partition(" has")[0] for problem in refusal(Net(body))] == [
        "the product or quotient of two values that both depend on the input"
    ]


@pytest.mark.parametrize("rounding", ("floor", "trunc"))
def test_division_that_rounds(rounding: str) -> None:
    (problem,) = refusal(between(lambda h: torch.div(h, 0.3, rounding_mode=rounding)))
    assert "rounding_mode" in problem.reason


@pytest.mark.parametrize(
    "pool", (nn.MaxPool2d(2, return_indices=True), nn.AdaptiveMaxPool2d(2, True))
)
def test_pools_with_indices(pool: nn.Module) -> None:
    """That somebody reads; those that nobody reads are left out."""

    def both(pair: Any) -> Tensor:
        values, indices = pair
        return values + indices.float()

    net = Net(lambda s, x: s.head(F.relu(s.c2(both(s.pool(F.relu(s.c1(x))))))), pool=pool)
    assert "return_indices=False" in refusal(net)[0].reason
    by_function = between(lambda h: both(F.max_pool2d(h, 2, return_indices=True)))
    assert "return_indices=False" in refusal(by_function)[0].reason
    by_position = between(lambda h: both(F.max_pool2d(h, 2, 2, 0, 1, False, True)))
    assert "return_indices=False" in refusal(by_position)[0].reason


def test_batch_norm_of_the_batch() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    (problem,) = refusal(nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU()))
    assert problem.path == "1" and "track_running_stats=True" in problem.reason
    (problem,) = refusal(between(lambda h: F.batch_norm(h, None, None, training=True)))
    assert "running statistics" in problem.reason


def test_dropout_at_inference() -> None:
    (problem,) = refusal(between(lambda h: F.dropout(h)))
    assert "training=self.training" in problem.reason


def test_assignment_to_a_part() -> None:
    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        h[:, 0] = 0.0
        return s.head(h)

    (problem,) = refusal(Net(body))
    assert "assigns to a part of a tensor in place" in problem.reason
    assert "depend" not in problem.reason and "out of place" in problem.reason
    assert problem.line.startswith(__file__)


def test_no_rectifier() -> None:
    (problem,) = refusal(Net(lambda s, x: s.head(s.c1(x))))
    assert "there is no ReLU in it" in problem.reason


def test_no_neurons() -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        net = nn.Sequential(nn.Linear(4, 0), nn.ReLU(), nn.Linear(0, 3))
    (problem,) = refusal(net, torch.randn(8, 4))
    assert problem.path == "1" and "it has no neurons" in problem.reason


def test_constant_output() -> None:
    net = Net(lambda s, x: (s.head(F.relu(s.c1(x))), s.scale), scale=nn.Parameter(torch.ones(3)))
    (problem,) = refusal(net)
    assert "does not depend on the input" in problem.reason


def test_rounding_is_no_mixing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where float32 tells batches of one and two apart, as of random networks, float64 counts."""
    exact = examine.is_close

    def only_in_float64(a: Tensor, b: Tensor, resolution: float, root: int = 2) -> bool:
        first_layer = a.dim() == 4 and a.shape[1] == 4  # not the images themselves
        return (resolution < 1e-12 or not first_layer) and exact(a, b, resolution, root)

    monkeypatch.setattr(examine, "is_close", only_in_float64)
    converted(Net(lambda s, x: F.relu(s.c1(x))))
    (found,) = refusal(Net(lambda s, x: F.relu(s.c1(x - x.mean(0)))))
    assert "mixes the images of a batch" in found.reason
