"""Forwards whose flow depends on shapes: traced for the calibration data's, and held to them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net, check, converted, images, refusal, relative_error


def spiking_head(s: Net, h: Tensor) -> Any:
    return s.head(F.relu(s.c2(h)))


def by_rank(s: Net, x: Tensor) -> Any:
    if x.dim() == 3:
        x = x.unsqueeze(0)
    return spiking_head(s, F.relu(s.c1(x)) if x.ndim == 4 and len(x.shape) == 4 else x)


def by_rank_of_spikes(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x))
    h = h.flatten(2) if h.dim() > 3 else h
    return s.fc(F.relu(h.mean(2) - 0.1))


def if_several_images(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x))
    h = h if x.shape[0] > 1 else h.contiguous()
    return spiking_head(s, h.view(x.size(0), 4, 8, 8))


def checked_channels(s: Net, x: Tensor) -> Any:
    assert x.shape[1] == 2, "two channels"
    if x.size(1) != 2:
        raise ValueError("two channels")
    torch._assert(x.shape[1] == 2, "two channels")
    return spiking_head(s, F.relu(s.c1(x)))


def loop_over_channels(s: Net, x: Tensor) -> Any:
    h = sum(x[:, i : i + 1] * (i + 1) for i in range(x.shape[1]))
    return spiking_head(s, F.relu(s.c1(torch.cat([h, h], 1))))


def kind_of_numbers(s: Net, x: Tensor) -> Any:
    if not x.is_floating_point() or x.dtype == torch.float16:
        x = x.float()
    return spiking_head(s, F.relu(s.c1(x)))


def unpacked_shape(s: Net, x: Tensor) -> Any:
    """The condition makes the trace a specialised one; sizes that decide nothing stay free."""
    if x.dim() != 4:
        raise ValueError("images")
    b, _, h, w = x.shape
    y = F.relu(s.c1(x)).view(b, -1, h * w).transpose(1, 2).transpose(1, 2)
    left, right = y.view(b, 4, h, w).chunk(2, 1)
    return spiking_head(s, torch.cat([right, left], 1))


def divided_sizes(s: Net, x: Tensor) -> Any:
    """Of 8 rows and 2 channels: 2, 2 and 8, 1."""
    whole, left = divmod(x.shape[2], 3)
    times, odd = divmod(17, x.size(1))
    return spiking_head(s, F.relu(s.c1(x) * whole + left / times - odd))


def as_long_as_the_images(s: Net, x: Tensor) -> Any:
    assert len(x) and len(x[0]) == 2 and len(x.shape) == 4, "images"
    h = F.relu(s.c1(x)).view(len(x), -1)
    return spiking_head(s, h.reshape((len(h), 4, 8, 8)))


ANY_SIZE = [
    as_long_as_the_images,
    by_rank,
    by_rank_of_spikes,
    if_several_images,
    checked_channels,
    loop_over_channels,
    kind_of_numbers,
    unpacked_shape,
    divided_sizes,
]


@pytest.mark.parametrize("body", ANY_SIZE, ids=lambda body: body.__name__)
def test_for_images_of_any_size(body: Any) -> None:
    """What the size of the images did not decide holds for all of them, and for any number."""
    net, x = Net(body), images(32)
    snn = check(net, x, neurons=2)
    for count in (1, 2, 5):
        with torch.no_grad():
            assert relative_error(snn(x[:count], T=512), net(x[:count])) < 0.02
    if body not in (if_several_images, as_long_as_the_images):
        x = images(3, 2, 6, 10) / 2
        with torch.no_grad():
            torch.testing.assert_close(snn.analog(x), net(x))
            assert relative_error(snn(x, T=512), net(x)) < 0.05


def until_it_is_small(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x))
    while h.shape[2] > 2:
        h = F.avg_pool2d(h, 2)
    return spiking_head(s, h)


def if_it_is_square(s: Net, x: Tensor) -> Any:
    _, _, h, w = x.size()
    return spiking_head(s, F.relu(s.c1(x)) * (1 if h == w else 2))


def row_by_row(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x))
    return spiking_head(s, torch.stack([h[:, :, i] * (i + 1) for i in range(h.size(2))], 2))


def rows_of_a_tuple(s: Net, x: Tensor) -> Any:
    rows = [row / 2 for row in F.relu(s.c1(x)).unbind(2)]
    return spiking_head(s, torch.stack(rows, 2))


def computed_numbers(s: Net, x: Tensor) -> Any:
    """Every conversion of a size to a number of Python's."""
    size = x.shape[-1]
    half, third = math.floor(size / 2), math.ceil(size / 3)
    scale = float(size) / 4 + round(size / 3, 1) + int(size * 0.5) + math.trunc(size / 5)
    h = F.relu(s.c1(x))[:, :, half - third :] / max(size, scale)
    return spiking_head(s, h if size in (8, 16) else -h)


ONE_SIZE = [until_it_is_small, if_it_is_square, row_by_row, rows_of_a_tuple, computed_numbers]


@pytest.mark.parametrize("body", ONE_SIZE, ids=lambda body: body.__name__)
def test_for_images_of_one_size(body: Any) -> None:
    """Any number of them; another size is an error in every call, never a wrong answer."""
    net, x = Net(body), images(32)
    snn = check(net, x, neurons=2)
    with torch.no_grad():
        assert relative_error(snn(x[:5], T=512), net(x[:5])) < 0.02
    other = images(2, 2, 16, 12)
    for run in (snn, snn.analog, snn.report, lambda x: snn.stream().step(x), snn.fuse()):
        with pytest.raises(ValueError, match=r"x must be .*\[B, 2, 8, 8\], got .*2, 16, 12\]"):
            run(other)
    with pytest.raises(ValueError, match="convert it once more with images of the other size"):
        converted(net, [images(4), other])  # type: ignore[arg-type]
    with torch.no_grad():
        assert relative_error(converted(net, other)(other, T=512), net(other)) < 0.02


def test_layers_and_lines_are_those_of_the_network() -> None:
    """A specialised trace names layers and lines like any other."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.act(self.conv(x))
            return torch.tanh(y) if y.dim() == 4 else y

    (problem,) = refusal(nn.Sequential(Block(), nn.Conv2d(2, 2, 3), nn.ReLU()))
    assert (problem.path, problem.operation) == ("0", "torch.tanh")
    assert problem.line.startswith(__file__)
    snn = converted(nn.Sequential(Block(), nn.Flatten()), analog=True)
    assert [row.layer for row in snn.report().rows] == ["0.act"]


def weights_only(s: Net, x: Tensor) -> Any:
    return spiking_head(s, F.relu(s.c1(x)) if s.fc.weight.shape[0] == 3 else x)


def test_shapes_of_weights() -> None:
    check(Net(weights_only), neurons=2)


PARAMETERS: dict[str, Any] = {
    "compared": lambda s, h: h if s.scale > 0 else -h,
    "as a number": lambda s, h: h * float(s.scale),
    "as an item": lambda s, h: h if s.scale.item() > 0 else -h,
    "computed": lambda s, h: h * 2 if (s.scale * 2).abs().max() > s.fc.weight.shape[0] else h,
    "one by one": lambda s, h: torch.stack([h[:, i] * w for i, w in enumerate(s.weights)], 1),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_values_of_parameters(name: str) -> None:
    """They are the same for all images, so they may decide, and no size of an image with them."""
    net = Net(lambda s, x: spiking_head(s, PARAMETERS[name](s, F.relu(s.c1(x)))))
    net.scale, net.weights = nn.Parameter(torch.tensor(0.75)), nn.Parameter(torch.rand(4))
    snn, x = check(net, neurons=2), images(3, 2, 6, 10)
    with torch.no_grad():
        torch.testing.assert_close(snn.analog(x), net(x))


REFUSED: dict[str, tuple[Any, str]] = {
    "a value": (
        lambda s, x: s.head(F.relu(s.c1(x)) if x.mean() > 0 else s.c1(x)),
        "its flow depends on the values of tensors",
    ),
    "a number from a value": (
        lambda s, x: s.head(F.relu(s.c1(x)) if x.max().item() > 0 else s.c1(x)),
        "its flow depends on the values of tensors",
    ),
    "a value that is made a number": (
        lambda s, x: s.head(F.relu(s.c1(x)) * float(x.mean())),
        "its flow depends on the values of tensors",
    ),
    "how many are not 0": (
        lambda s, x: s.head(F.relu(s.c1(x)) if x.nonzero().shape[0] > 9 else x),
        "on the number of images|on the values of tensors",
    ),
    "how many are above 0": (
        lambda s, x: s.head(F.relu(s.c1(x)) if len(x[x > 0]) > 9 else x),
        "on the number of images|on the values of tensors",
    ),
    "a loop over images": (
        lambda s, x: s.head(torch.stack([F.relu(s.c1(image)) for image in x])),
        "its flow depends on the number of images",
    ),
    "a loop over the number of images": (
        lambda s, x: s.head(torch.cat([F.relu(s.c1(x[i : i + 1])) for i in range(len(x))])),
        "its flow depends on the number of images",
    ),
    "exactly two images, by len": (
        lambda s, x: s.head(F.relu(s.c1(x)) if len(x) == 2 else s.c1(x)),
        "its flow depends on the number of images",
    ),
    "exactly two images": (
        lambda s, x: s.head(F.relu(s.c1(x)) if x.shape[0] == 2 else s.c1(x)),
        "its flow depends on the number of images",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_shape_decides_is_refused(name: str) -> None:
    """With the line of the user's code, not one of torch's."""
    body, says = REFUSED[name]
    (problem,) = refusal(Net(body))
    assert "torch.fx cannot trace this forward" in problem.reason
    assert any(part in problem.reason for part in says.split("|"))
    assert problem.operation == "Net"
    assert problem.line.startswith(__file__)


def test_one_image_that_goes_another_way() -> None:
    """It is refused where that changes the result, and only there."""

    def other_result(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return spiking_head(s, h if x.shape[0] > 1 else h * 2)

    (problem,) = refusal(Net(other_result))
    assert "a single image goes another way" in problem.reason


def test_mixing_images_behind_a_condition() -> None:
    def mixed(s: Net, x: Tensor) -> Any:
        return spiking_head(s, F.relu(s.c1(x)) + (x.mean() if x.dim() == 4 else 0))

    assert "mixes the images of a batch" in refusal(Net(mixed))[0].reason
