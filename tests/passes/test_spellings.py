"""What stands between neurons and after them, in every spelling that conversion takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net, check, images


def after_neurons(read_out: Any) -> Net:
    """A readout of feature maps `[B, 4, 8, 8]` of spikes; the last layer has 4 inputs."""
    return Net(lambda s, x: read_out(s, F.relu(s.c1(x))), relu=nn.ReLU(), one=nn.Linear(4, 1))


HEADS: dict[str, Any] = {
    "flatten": lambda s, h: s.fc(F.avg_pool2d(h, 8).flatten(1)),
    "torch.flatten": lambda s, h: s.fc(torch.flatten(F.adaptive_avg_pool2d(h, 1), 1)),
    "view(size(0), -1)": lambda s, h: s.fc(F.avg_pool2d(h, 8).view(h.size(0), -1)),
    "view(shape[0], 4)": lambda s, h: s.fc(F.avg_pool2d(h, 8).view(h.shape[0], 4)),
    "view(-1, 4)": lambda s, h: s.fc(F.avg_pool2d(h, 8).view(-1, 4)),
    "view((-1, 4))": lambda s, h: s.fc(F.avg_pool2d(h, 8).view((-1, 4))),
    "view(size(0), size(1))": lambda s, h: s.fc(F.avg_pool2d(h, 8).view(h.size(0), h.size(1))),
    "reshape": lambda s, h: s.fc(F.avg_pool2d(h, 8).reshape(h.shape[0], -1)),
    "torch.reshape": lambda s, h: s.fc(torch.reshape(F.avg_pool2d(h, 8), (h.size()[0], 4))),
    "reshape to a size": lambda s, h: s.fc(F.avg_pool2d(h, 8).reshape(h[:, :, 0, 0].shape)),
    "reshape_as": lambda s, h: s.fc(F.avg_pool2d(h, 8).reshape_as(h[:, :, 0, 0])),
    "squeeze": lambda s, h: s.fc(F.avg_pool2d(h, 8).squeeze(3).squeeze(2)),
    "view(-1) of one value": lambda s, h: s.one(h.mean((2, 3))).view(-1),
    "reshape((-1,)) of one value": lambda s, h: torch.reshape(s.one(h.mean((2, 3))), (-1,)),
    "view(size(0)) of one value": lambda s, h: s.one(h.mean((2, 3))).view(h.size(0)),
    "squeeze all": lambda s, h: s.fc(F.adaptive_avg_pool2d(h, 1).squeeze()),
    "torch.squeeze all": lambda s, h: s.fc(torch.squeeze(F.avg_pool2d(h, 8))),
    "unflatten": lambda s, h: s.fc(h.flatten(1).unflatten(1, (4, 64)).mean(2)),
    "mean": lambda s, h: s.fc(h.mean(dim=(2, 3))),
    "mean of negative dimensions": lambda s, h: s.fc(h.mean([-1, -2])),
    "torch.mean": lambda s, h: s.fc(torch.mean(h, (2, 3))),
    "sum": lambda s, h: s.fc(h.sum((2, 3)) / 64),
    "torch.sum": lambda s, h: s.fc(torch.sum(h, 3).sum(2).div(64)),
    "permute": lambda s, h: s.fc(h.permute(0, 2, 3, 1).mean((1, 2))),
    "transpose": lambda s, h: s.fc(h.flatten(2).transpose(1, 2).mean(1)),
    "index": lambda s, h: s.fc(h[:, :, 3, -1]),
    "slices": lambda s, h: s.fc(h[..., 1:5, ::2].mean((2, 3))),
    "select": lambda s, h: s.fc(h.select(2, 1).select(-1, 0)),
    "narrow": lambda s, h: s.fc(h.narrow(2, 1, 2).mean((2, 3))),
    "functional linear": lambda s, h: F.linear(h.mean((2, 3)), s.fc.weight, s.fc.bias),
    "matmul": lambda s, h: h.mean((2, 3)) @ s.fc.weight.t() + s.fc.bias,
    "addmm": lambda s, h: torch.addmm(s.fc.bias, h.mean((2, 3)), s.fc.weight.t()),
    "addmm of two signals": lambda s, h: torch.addmm(
        s.fc(h.mean((2, 3))), h.mean((2, 3)), s.fc.weight.t(), beta=0.5, alpha=2
    ),
    "addmm of nothing": lambda s, h: torch.addmm(
        torch.full((3,), torch.nan), h.mean((2, 3)), s.fc.weight.t(), beta=0
    ),
    "addmm by keywords": lambda s, h: torch.addmm(
        input=s.fc.bias, mat1=h.mean((2, 3)), mat2=s.fc.weight.t(), alpha=2
    ),
    "baddbmm by keywords": lambda s, h: h.mean((2, 3))[:, None].baddbmm(
        batch1=h.mean((2, 3))[:, None],
        batch2=s.fc.weight.t().expand(h.shape[0], -1, -1)[:, :, [0, 1, 2, 0]],
        beta=0.5,
    )[:, 0, :3],
    "addmm by method": lambda s, h: s.fc(h.mean((2, 3))).addmm(h.mean((2, 3)), s.fc.weight.t()),
    "einsum": lambda s, h: torch.einsum("bchw,kc->bk", h, s.fc.weight) / 64,
    "max pool": lambda s, h: s.fc(F.max_pool2d(s.c2(h), 8).flatten(1)),
    "cumsum": lambda s, h: s.fc(h.cumsum(3)[..., -1].mean(2)),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str) -> None:
    check(after_neurons(HEADS[name]), neurons=1)


def test_squeezing_leaves_a_batch_of_one() -> None:
    """Nor does a parameter's own dimension of size 1 count as a batch."""
    net = after_neurons(lambda s, h: s.fc(F.avg_pool2d(h, 8).squeeze() + s.scale.squeeze()))
    net.scale = nn.Parameter(torch.randn(1, 4, 1))
    snn = check(net, neurons=1)
    assert snn(images(1)).shape == (1, 3)


BETWEEN: dict[str, Any] = {
    "concat": lambda s, h: torch.cat([h[:, :2], h[:, 2:]], 1),
    "concat of negative dimension": lambda s, h: torch.cat((h, h * 2), dim=-1),
    "stack": lambda s, h: torch.stack([h, -h], 2).flatten(1, 2)[:, 1::2],
    "chunk": lambda s, h: torch.cat(h.chunk(2, 1)[::-1], 1),
    "torch.chunk": lambda s, h: torch.chunk(h, 2, dim=2)[1],
    "split": lambda s, h: torch.cat([h.split([1, 3], 1)[1], h.split(3, 1)[1]], 1),
    "unbind": lambda s, h: torch.stack(h.unbind(1)[::-1], 1),
    "pad": lambda s, h: F.pad(h, (1, 0, 2, 1)),
    "pad with a value": lambda s, h: F.pad(h, (1, 1, 1, 1), value=0.5),
    "pad by reflection": lambda s, h: F.pad(h, (1, 1, 1, 1), mode="reflect"),
    "ZeroPad2d": nn.ZeroPad2d(1),
    "ReflectionPad2d": nn.ReflectionPad2d(2),
    "ReplicationPad2d": nn.ReplicationPad2d(1),
    "CircularPad2d": nn.CircularPad2d(1),
    "interpolate": lambda s, h: F.interpolate(h, scale_factor=2),
    "interpolate to a size": lambda s, h: F.interpolate(h[..., ::2], size=h.shape[2:]),
    "interpolate bilinearly": lambda s, h: F.interpolate(h, 5, mode="bilinear"),
    "Upsample": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "PixelShuffle": lambda s, h: F.pixel_unshuffle(F.pixel_shuffle(h, 2), 2),
    "ChannelShuffle": nn.ChannelShuffle(2),
    "shuffle by views": lambda s, h: (
        h.view(h.size(0), 2, 2, 8, 8).transpose(1, 2).reshape(h.size(0), -1, 8, 8)
    ),
    "AvgPool2d": nn.AvgPool2d(3, 2, padding=1),
    "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d((3, 2)),
    "flip and roll": lambda s, h: h.flip(2).roll(1, 3),
    "repeat": lambda s, h: h[:, :1].repeat(1, 4, 1, 1) + h[:, :2].repeat_interleave(2, dim=1),
    "expand": lambda s, h: h + h.mean((2, 3), keepdim=True).expand(h.size(0), 4, 8, 8),
    "expand by name": lambda s, h: h + h.mean(3, keepdim=True).expand(size=(-1, -1, -1, 8)),
    "expand a parameter": lambda s, h: torch.cat([h, s.row.expand(h.size(0), -1, -1, 8)], 2),
    "view a parameter": lambda s, h: h * s.scale.view(1, -1, 1, 1),
    "expand_as": lambda s, h: h - h.mean(1, keepdim=True).expand_as(h),
    "mT": lambda s, h: h.mT,
    "sum of a stack": lambda s, h: torch.stack([h, 2 * h.flip(3)]).sum(0),
    "mean of a stack": lambda s, h: torch.mean(torch.stack((h, h.flip(2)), dim=0), dim=0),
    "sum of a stack by name": lambda s, h: torch.sum(input=torch.stack([h, h.flip(3)]), dim=0),
    "largest of a stack": lambda s, h: torch.stack([s.c2(h), h.flip(3)]).amax(0),
    "rsub": lambda s, h: torch.rsub(h, 3.0),
    "rsub of two": lambda s, h: torch.rsub(h, h.flip(2)),
    "lerp": lambda s, h: torch.lerp(h, h.flip(2), s.scale),
    "lerp by method": lambda s, h: h.lerp(end=s.scale, weight=0.25),
    "addcmul": lambda s, h: torch.addcmul(h, s.scale, h.flip(3), value=0.5),
    "addcdiv": lambda s, h: s.gain.addcdiv(h, s.scale + 1),
    "constant_pad_nd": lambda s, h: torch.constant_pad_nd(h, (1, 0, 2, -2), 0.5)[..., :-1],
    "tensordot": lambda s, h: torch.tensordot(h, s.c2.weight[:, :, 0, 0], ([1], [1])).movedim(3, 1),
    "sizes of data": lambda s, h: h.reshape(h.data.size(0), h.data.shape[1], -1).view_as(h),
    "bmm": lambda s, h: torch.bmm(h.flatten(2), s.square.expand(h.size(0), -1, -1)).view(h.shape),
    "baddbmm": lambda s, h: torch.baddbmm(
        h.flatten(2), h.flip(1).flatten(2), s.square.expand(h.size(0), -1, -1), alpha=0.5
    ).view(h.shape),
    "hstack": lambda s, h: torch.hstack([h[:, 1:], h[:, :1]]),
    "dstack": lambda s, h: torch.dstack([h, -h]),
    "windows": lambda s, h: h.unfold(3, 2, 2).mean(-1),
    "masked_fill": lambda s, h: h.masked_fill(s.mask, 0.5),
    "where": lambda s, h: torch.where(s.mask, h, h.flip(3)),
    "where, of numbers": lambda s, h: h.where(torch.ones_like(h) > s.mask.float(), 0.0),
    "zeros_like": lambda s, h: torch.cat([h[:, :2], torch.zeros_like(h[:, 2:])], 1),
    "index by a buffer": lambda s, h: h[:, s.order],
    "index_select": lambda s, h: h.index_select(1, s.order),
    "functional convolution": lambda s, h: F.conv2d(h, s.kernel, stride=2),
    "functional transposed": lambda s, h: F.conv_transpose2d(h, s.kernel),
    "convolution by name": lambda s, h: F.conv2d(input=h, bias=None, weight=s.kernel),
    "standardised weight": lambda s, h: F.conv2d(h, s.kernel - s.kernel.mean((1, 2, 3), True)),
    "grouped": nn.Conv2d(4, 4, 3, groups=2),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4, padding=1, dilation=2),
    "padded circularly": nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    "transposed": nn.ConvTranspose2d(4, 4, 3, stride=2),
    "times a parameter": lambda s, h: h * s.scale,
    "times a buffer, by method": lambda s, h: h.mul(s.gain),
    "through a parameter": lambda s, h: h / (1 + s.scale**2),
    "times a number of channels": lambda s, h: 2 * h / h.size(1),
    "plus a parameter": lambda s, h: torch.add(s.scale, h, alpha=0.5),
    "minus": lambda s, h: torch.sub(h, 0.1) - 0.1,
    "from": lambda s, h: 1 - h,
    "negative": lambda s, h: -torch.neg(-h),
    "nothing by name": lambda s, h: s.dropout(input=F.dropout(input=h, training=s.training)),
    "pool by name": lambda s, h: F.avg_pool2d(input=s.pool(input=h), kernel_size=2),
    "reshape by name": lambda s, h: torch.reshape(input=h, shape=(-1, 4, 4, 16)),
    "nothing of torch": lambda s, h: torch.alpha_dropout(torch.dropout(h, 0.5, False), 0.5, False),
    "nothing": lambda s, h: s.dropout(F.dropout(h.contiguous(), 0.5, s.training)).clone(),
    "dropout of channels": nn.Sequential(nn.Dropout2d(), nn.Identity(), nn.AlphaDropout()),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_between_neurons(name: str) -> None:
    between = BETWEEN[name]
    is_module = isinstance(between, nn.Module)

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(F.relu(s.c2(s.between(h) if is_module else between(s, h))))

    scale, kernel = nn.Parameter(torch.rand(4, 1, 1) + 0.5), nn.Parameter(torch.randn(4, 4, 2, 2))
    net = Net(body, scale=scale, kernel=kernel, dropout=nn.Dropout(), pool=nn.AvgPool2d(2))
    net.square = nn.Parameter(torch.randn(64, 64) / 8)
    net.register_buffer("mask", torch.rand(8, 8) > 0.5)
    net.row = nn.Parameter(torch.randn(1, 4, 1, 1))
    net.register_buffer("order", torch.tensor([2, 0, 3, 1]))
    net.register_buffer("gain", torch.tensor(1.5))
    if is_module:
        net.between = between
    check(net, neurons=2)


def test_class_token() -> None:
    """A parameter that is expanded to the batch stands beside what has time, and before it."""

    def body(s: Net, x: Tensor) -> Any:
        tokens = s.embed(x.flatten(2))
        tokens = torch.cat([s.token.expand(x.shape[0], -1, -1), F.relu(tokens)], 1)
        return s.fc(F.relu(s.mix(tokens))[:, 0])

    token = nn.Parameter(torch.randn(1, 1, 4))
    check(Net(body, embed=nn.Linear(64, 4), mix=nn.Linear(4, 4), token=token), neurons=2)


@pytest.mark.parametrize(
    "pool",
    (
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.AdaptiveMaxPool2d(3),
        lambda h: F.max_pool2d(h, 2),
        lambda h: F.max_pool2d(h, kernel_size=3, stride=1, padding=1),
        lambda h: torch.max_pool2d(h, 2, 1),
        lambda h: F.adaptive_max_pool2d(h, (2, 3)),
        lambda h: F.max_pool1d(h.flatten(2), 4).unflatten(2, (4, -1)),
    ),
)
def test_max_pools(pool: Any) -> None:
    """After a rectifier, after a layer, and of the image."""

    def body(s: Net, x: Tensor) -> Any:
        y = s.pool(s.c2(s.pool(F.relu(s.c1(x)))) * 2)
        return s.head(F.relu(y)) + s.pool(x)[:, 0, :1, 0]

    check(Net(body, pool=pool), images(32, 2, 16, 16), neurons=2)


def test_other_dimensions() -> None:
    """Sequences `[B, C, L]`, volumes, and `[B, L, F]`, where dimension 1 has the thresholds."""
    check(
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.MaxPool1d(2)), images(32, 2, 9), neurons=1
    )
    volume = nn.Sequential(nn.Conv3d(2, 4, 2), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(4, 2, 1))
    check(volume, images(32, 2, 5, 5, 5), neurons=1)
    snn = check(nn.Sequential(nn.Linear(6, 5), nn.ReLU()), images(32, 3, 6), neurons=1)
    (node,) = snn.populations().values()
    assert node.v_threshold.shape == (3, 1)
