"""Where other converters fail: a test for each row of the table on layers and functions.

Every spelling of each has a file of its own beside this one.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import ops

from spikeconv.convert import ConversionError
from tests.convert.nets import Net, between, check, converted, images, refusal
from tests.convert.small_resnet import small_resnet


@pytest.mark.parametrize(
    "relu",
    (F.relu, torch.relu, lambda h: h.relu(), lambda h: h.clamp(min=0), lambda h: h.clamp_min(0)),
    ids=("F.relu", "torch.relu", "x.relu", "clamp", "clamp_min"),
)
def test_row_functional_relu(relu: Any) -> None:
    """More spellings: test_rectifiers.py."""
    check(small_resnet(relu), images(16, 3, 16, 16), neurons=5)


@pytest.mark.parametrize("act", (nn.ReLU6(), nn.Hardtanh(0, 2), F.relu6), ids=repr)
def test_row_relu6_and_hardtanh(act: Any) -> None:
    """The cap is a ceiling of the thresholds."""
    snn = check(small_resnet(act), images(16, 3, 16, 16), neurons=5)
    cap = 2 if isinstance(act, nn.Hardtanh) and act.max_val == 2 else 6
    for step in list(snn.program.neurons())[1:]:
        assert snn.layers[step.target].cap == cap
        assert snn.populations()[step.name].v_threshold.max() <= cap


@pytest.mark.parametrize(
    "act",
    (nn.LeakyReLU(), nn.SiLU(), nn.GELU(), nn.Sigmoid(), nn.Softmax(1), nn.LayerNorm(16)),
    ids=lambda act: type(act).__name__,
)
def test_row_other_activations(act: nn.Module) -> None:
    """Refused with a list of all; as an analog head on request, and then reported."""
    problems = refusal(small_resnet(act), images(8, 3, 16, 16))
    assert [p.operation for p in problems][:4] == 4 * [type(act).__name__]
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1), act)
    with pytest.raises(ConversionError, match="analog="):
        converted(net, images(8, 3, 16, 16))
    snn = converted(net, images(8, 3, 16, 16), analog=True)
    assert [kept.operation for kept in snn.report().analog] == [type(act).__name__]


def test_row_subclass_of_relu() -> None:
    class Mine(nn.ReLU):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input)

    check(small_resnet(Mine()), images(16, 3, 16, 16), neurons=5)


@pytest.mark.parametrize("dropout", (nn.Dropout(), nn.Dropout(inplace=True), nn.AlphaDropout()))
def test_rows_dropout(dropout: nn.Module) -> None:
    """Gone at inference, in place or not, as F.dropout with training=self.training is."""
    net = Net(
        lambda s, x: s.head(F.relu(s.c2(F.dropout(s.drop(F.relu(s.c1(x))), 0.5, s.training)))),
        drop=dropout,
    )
    snn = check(net, neurons=2)
    assert [step.label for step in snn.program.steps if step.kind == "module"] == ["c1", "c2", "fc"]


@pytest.mark.parametrize("drop", (ops.StochasticDepth(0.5, "row"), ops.DropBlock2d(0.5, 3)))
def test_rows_dropout_of_torchvision(drop: nn.Module) -> None:
    snn = check(
        Net(lambda s, x: s.head(F.relu(s.c2(s.drop(F.relu(s.c1(x)))))), drop=drop), neurons=2
    )
    assert [step.label for step in snn.program.steps if step.kind == "module"] == ["c1", "c2", "fc"]


def test_row_training_mode_on_entry() -> None:
    """Flags and statistics stay, nothing is shared. More: test_structures.py."""
    net = small_resnet().train()
    before = copy.deepcopy(net.state_dict())
    snn = converted(net, images(8, 3, 16, 16))
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    theirs = {value.data_ptr() for value in net.state_dict().values()}
    assert theirs.isdisjoint(value.data_ptr() for value in snn.state_dict().values())


HEADS: dict[str, Any] = {
    "flatten": lambda h: F.avg_pool2d(h, 8).flatten(1),
    "view(size(0), -1)": lambda h: F.avg_pool2d(h, 8).view(h.size(0), -1),
    "view(shape[0], -1)": lambda h: F.avg_pool2d(h, 8).view(h.shape[0], -1),
    "mean((2, 3))": lambda h: h.mean((2, 3)),
    "F.adaptive_avg_pool2d": lambda h: F.adaptive_avg_pool2d(h, 1).flatten(1),
    "squeeze": lambda h: F.adaptive_avg_pool2d(h, 1).squeeze(-1).squeeze(-1),
}


@pytest.mark.parametrize("name", HEADS)
def test_rows_heads(name: str) -> None:
    check(Net(lambda s, x: s.fc(HEADS[name](F.relu(s.c1(x))))), neurons=1)


TIMEWISE: dict[str, Any] = {
    "F.max_pool2d": lambda h: F.max_pool2d(h, 2),
    "F.avg_pool2d": lambda h: F.avg_pool2d(h, 2),
    "F.pad": lambda h: F.pad(h, (1, 2)),
    "F.pad, asymmetric": lambda h: F.pad(h, (0, 3, 2, 1)),
    "F.interpolate": lambda h: F.interpolate(h, scale_factor=2),
    "F.interpolate, bicubic": lambda h: F.interpolate(h, size=(5, 6), mode="bicubic"),
    "chunk": lambda h: torch.cat(h.chunk(2, 1)[::-1], 1),
    "split": lambda h: torch.cat(h.split((1, 3), 1)[::-1], 1),
    "torch.mul": lambda h: torch.mul(h, 1.5),
    "x / 2": lambda h: h / 2,
    "matmul": lambda h: h @ torch.eye(8).flip(0),
    "concat": lambda h: torch.cat([h[:, 2:], h[:, :2]], 1),
    "subtraction and constants": lambda h: h - h.flip(1) * 0.5 + 0.25,
}
LAYERS: dict[str, nn.Module] = {
    "ZeroPad2d": nn.ZeroPad2d((1, 0, 2, 0)),
    "ReflectionPad2d": nn.ReflectionPad2d((1, 2, 0, 1)),
    "ReplicationPad2d": nn.ReplicationPad2d(1),
    "CircularPad2d": nn.CircularPad2d((1, 0, 0, 1)),
    "PixelShuffle": nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
    "Unflatten": nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 8, 8))),
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d(3),
    "Upsample": nn.Upsample(scale_factor=2),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4),
    "grouped": nn.Conv2d(4, 4, 3, groups=2, padding=(0, 2)),
    "ConvTranspose2d": nn.ConvTranspose2d(4, 4, 3, 2, groups=2, output_padding=1),
}


@pytest.mark.parametrize("name", [*TIMEWISE, *LAYERS])
def test_rows_what_is_the_same_at_every_step(name: str) -> None:
    """Between neurons, pooled last so that any size will do. More: test_spellings.py."""
    function = TIMEWISE.get(name)
    net = between(function)
    if function is None:
        net = Net(lambda s, x: s.head(F.relu(s.c2(s.l(F.relu(s.c1(x)))))), l=LAYERS[name])
    check(net, neurons=2)


def test_row_times_a_parameter_or_a_buffer() -> None:
    net = Net(
        lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x)) * s.w / s.b))),
        w=nn.Parameter(torch.rand(4, 1, 1)),
    )
    net.register_buffer("b", torch.tensor(0.7))
    check(net, neurons=2)


def test_row_product_of_two_spike_streams() -> None:
    """No answer instead of a wrong one; theirs is off by .3 at T = 128."""
    (problem,) = refusal(between(lambda h: h * h.flip(1)))
    assert "two values that both depend on the input" in problem.reason


@pytest.mark.parametrize("act", (nn.ReLU, nn.ReLU6))
def test_row_mobilenet_block(act: type[nn.Module]) -> None:
    """Expansion, depthwise, projection, residual; with either activation."""
    block = nn.Sequential(
        *(nn.Conv2d(4, 16, 1, bias=False), nn.BatchNorm2d(16), act(inplace=True)),
        *(nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), act(inplace=True)),
        *(nn.Conv2d(16, 4, 1, bias=False), nn.BatchNorm2d(4)),
    )
    net = Net(lambda s, x: s.head(s.block(h := s.c1(x)) + h), block=block)
    for _ in range(5):
        net.train()(images(32))
    snn = check(net, neurons=2)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in snn.layers.values())


def test_row_pre_activation_resnet() -> None:
    """A batch norm that no layer precedes is affine and stays, static where it reads the image."""

    def body(s: Net, x: Tensor) -> Any:
        h = s.c1(x)
        h = s.c2(F.relu(s.n1(h))) + h
        h = s.c3(F.relu(s.n2(h))) + h
        return s.head(F.relu(s.n3(h)))

    norms = {f"n{i}": nn.BatchNorm2d(4) for i in (1, 2, 3)}
    net = Net(body, c3=nn.Conv2d(4, 4, 3, padding=1), **norms)
    for _ in range(5):
        net.train()(images(32))
    check(net, neurons=3)


def test_row_linear_and_batch_norm_1d() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.BatchNorm1d(8), nn.ReLU())
    net.append(nn.Linear(8, 3))
    for _ in range(5):
        net.train()(images(32))
    snn = check(net, neurons=1)
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in snn.layers.values())


def test_row_batch_norm_behind_the_activation() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    net.append(nn.ReLU())
    for _ in range(5):
        net.train()(images(32))
    check(net, neurons=2)


def test_row_multihead_attention() -> None:
    """One clear message. Kept as a head on request: test_analog.py."""
    net = Net(
        lambda s, x: F.relu(
            s.attend(h := F.relu(s.c1(x)).flatten(2).transpose(1, 2), h, h, need_weights=False)[0]
        ),
        attend=nn.MultiheadAttention(4, 2, batch_first=True),
    )
    (problem,) = refusal(net)
    assert problem.path == "attend" and "attention multiplies values" in problem.reason
