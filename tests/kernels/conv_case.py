"""One launch of the convolution kernel with a tile of one's own, between margins."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.fuse.gpu_layer import prepare
from spikeconv.kernels.conv_launch import Tile, conv_if
from spikeconv.kernels.fields import bits_for, padded, planes_for
from spikeconv.kernels.pack import pack
from tests.fuse.gpu_layers import Case, describe
from tests.kernels.if_case import DEVICE, MARGIN, POISON, loads_stay_inside

INT = torch.int32


def check_tile(case: Case, tile: Tile, multiply: str = "int8", *, spikes: bool = True) -> None:
    """All outputs of a launch equal the reference's, and nothing beside them is read or written."""
    from spikeconv.fuse.reference import run_layer

    train, after = run_layer(case.layer, case.trains)
    T, B = train.shape[:2]
    K, H, W = case.layer.shape
    layer = prepare(case.layer, case.program, torch.device(DEVICE), multiply)
    data = {
        name: pack(x.to(DEVICE), bits_for(case.sources[name].largest, case.sources[name].signed))
        for name, x in case.trains.items()
    }
    bits = 2 if case.layer.signed else 1
    shapes = {
        "count": ((B, H, W, K), INT),
        "v_after": ((B, H, W, K), INT),
    }
    if spikes:
        shapes["spikes"] = ((planes_for(T, bits), B, H, W, padded(K)), torch.int8)
    if case.layer.signed:
        shapes["net_after"] = ((B, H, W, K), INT)
    buffers = {
        name: torch.full((_size(shape) * dtype.itemsize + 2 * MARGIN,), POISON, dtype=torch.uint8)
        for name, (shape, dtype) in shapes.items()
    }
    buffers = {name: buffer.to(DEVICE) for name, buffer in buffers.items()}
    outputs: dict[str, Tensor | None] = {
        name: buffers[name][MARGIN:-MARGIN].view(dtype).view(shape)
        for name, (shape, dtype) in shapes.items()
    }
    outputs = {"spikes": None, "net_after": None, **outputs}
    dense, each = layer.dense(data), layer.each(data)
    operands = [layer.theta, layer.v_init, layer.bias, *data.values()]
    operands += [outputs["spikes"]] if spikes else []  # a byte is gone on with
    operands += [tensor for one in dense for tensor in (one.weight, one.sums)]
    operands += [one.coefficient for one in each]
    with loads_stay_inside(operands):
        conv_if(
            *(dense, each),
            theta=layer.theta,
            v=layer.v_init,
            bias=layer.bias,
            net=None,
            T=T,
            done=0,
            shape=(B, H, W, K),
            shift=layer.shift,
            signed=layer.signed,
            tile=tile,
            **outputs,
        )
    what = f"{tile}, {describe(case)}"
    for name, buffer in buffers.items():
        margins = torch.cat((buffer[:MARGIN], buffer[-MARGIN:]))
        assert (margins == POISON).all(), f"{name} written outside: {what}"
    expected = {
        "spikes": pack(train.to(DEVICE), bits),
        "count": train.sum(0, dtype=INT).permute(0, 2, 3, 1),
        "v_after": after.v.permute(0, 2, 3, 1),
        "net_after": None if after.net_count is None else after.net_count.permute(0, 2, 3, 1),
    }
    for name, found in outputs.items():
        if found is not None:
            assert torch.equal(found.cpu(), expected[name].cpu()), f"{name}: {what}"


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.tensor(shape).prod())
