"""Compile the convolution kernel for GPUs that are not here, and print what came out as JSON.

Run by test_conv_compiled.py in a process without TRITON_INTERPRET.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.driver import CudaDriver

from spikeconv.fuse.gpu_layer import prepare
from spikeconv.fuse.layer import Convolution, IntegerLayer, Shortcut
from spikeconv.kernels import conv_launch, encode, pack, pool
from spikeconv.kernels.conv_launch import Tile, conv_if
from spikeconv.kernels.conv_tiles import tiles
from spikeconv.kernels.conv_timing import compile_all
from spikeconv.kernels.fields import bits_for, padded, planes_for
from tests.fuse.gpu_layers import Case, plain_layer, source
from tests.kernels.compile_variants import Recorder, facts

B, T, SIZE = 2, 16, 28
NARROW = Tile(16, 32, 16, 64, 4, 3)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int8)


def layers() -> dict[str, Case]:
    """Layers of 128 channels as ResNet has them, by name."""
    train = zeros(T, B, 128, SIZE, SIZE)
    weight = zeros(128, 128, 3, 3)
    plain = plain_layer(weight, (SIZE, SIZE))
    shortcut = Shortcut("s", torch.ones(128, dtype=torch.int32))
    depthwise = Convolution("s", zeros(128, 1, 3, 3), padding=(1, 1), groups=128)

    def case(layer: IntegerLayer, signed: bool = False, largest: int = 1) -> Case:
        return Case(layer, {"s": source("s", train, largest, signed)}, {"s": train})

    def of(dtype: torch.dtype) -> Case:
        return case(
            replace(plain, convolutions=(Convolution("s", weight.to(dtype), padding=(1, 1)),))
        )

    # Sums of a layer of int16 weights are two, and so are those of spikes and of a pool.
    return {
        "plain": case(plain),
        "shortcut": case(replace(plain, shortcuts=(shortcut,))),
        "signed": case(replace(plain, signed=True), True),
        "signed shortcut": case(replace(plain, signed=True, shortcuts=(shortcut,)), True),
        "pooled": case(plain, largest=4),
        "int16": of(torch.int16),
        "int24": of(torch.int32),
        "depthwise": case(replace(plain, convolutions=(depthwise,))),
    }


def launch_of(case: Case, multiply: str = "int8") -> Callable[..., Any]:
    """A layer's launch, with everything but its tile filled in."""
    layer = prepare(case.layer, case.program, torch.device("cpu"), multiply)
    data = {
        name: zeros(planes_for(T, bits_of(case, name)), B, SIZE, SIZE, padded(x.shape[2]))
        for name, x in case.trains.items()
    }
    K, H, W = case.layer.shape
    return partial(
        conv_if,
        layer.dense(data),
        layer.each(data),
        theta=layer.theta,
        v=layer.v_init,
        bias=layer.bias,
        net=None,
        spikes=zeros(planes_for(T, 2 if case.layer.signed else 1), B, H, W, K),
        count=None,
        v_after=None,
        net_after=None,
        T=T,
        done=0,
        shape=(B, H, W, K),
        shift=layer.shift,
        signed=layer.signed,
    )


def compiled(case: Case, tile: Tile, arch: int, multiply: str = "int8") -> Any:
    """What the compiler makes of one layer's launch."""
    conv_launch.conv_if_kernel = recorder = Recorder(KERNEL, arch)
    launch_of(case, multiply)(tile=tile)
    return recorder.compiled


def bits_of(case: Case, name: str) -> int:
    return bits_for(case.sources[name].largest, case.sources[name].signed)


def conv_variants() -> Iterator[tuple[str, Any]]:
    """Of every layer the tile that is taken untried, those that join steps, and a narrow one."""
    for name, case in layers().items():
        layer = prepare(case.layer, case.program, torch.device("cpu"), "int8")
        first, *others = tiles(layer.problem(64, T))
        for arch in (80, 90):
            yield f"sm_{arch} {name}", compiled(case, first, arch)
        for tile in others:
            if tile.joined > 1:
                yield f"sm_90 {name} {tile}", compiled(case, tile, 90)
    for arch in (80, 90):
        yield f"sm_{arch} narrow", compiled(layers()["plain"], NARROW, arch)
        yield f"sm_{arch} signed narrow", compiled(layers()["signed shortcut"], NARROW, arch)
        yield (
            f"sm_{arch} bf16",
            compiled(layers()["plain"], Tile(128, 32, 8, 64, 8, 3), arch, "bf16"),
        )


def other_kernels() -> Iterator[tuple[str, Any]]:
    """Packing, pools and encoders."""
    train = torch.zeros(T, B, 64, 14, 14)
    words = torch.zeros(B, 64, 14, 14, dtype=torch.int32)
    image = torch.zeros(B, 64, 28, 28).contiguous(memory_format=torch.channels_last)
    window = ((3, 3), (2, 2), (1, 1), (1, 1))
    theta = torch.ones(64, 1, 1).expand(64, 14, 14)
    for name, module, launch in (
        ("pack", pack, lambda: pack.pack(train, 1)),
        ("pack words", pack, lambda: pack.pack_words(words, T)),
        (
            "encode",
            encode,
            lambda: encode.encode(image, theta[:, 0, 0], window, theta, theta, None, T),
        ),
        ("unpack", pack, lambda: pack.unpack(zeros(2, B, 14, 14, 64), 1, T, 64)),
        (
            "pool",
            pool,
            lambda: pool.pool(zeros(2, B, 14, 14, 64), 1, T, 4, (2, 2), (2, 2), (0, 0), (7, 7)),
        ),
    ):
        attribute = f"{name.partition(' ')[0]}_kernel"
        kernel = getattr(module, attribute)
        recorder = Recorder(kernel, 90)
        setattr(module, attribute, recorder)
        launch()
        setattr(module, attribute, kernel)
        yield f"sm_90 {name}", recorder.compiled


class NoGpu(CudaDriver):
    """What triton asks of a device before it compiles for it: one that is not there."""

    def __init__(self) -> None:
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device: 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def side_by_side() -> int:
    """How many tiles `compile_all` has compiled, of two."""
    conv_launch.conv_if_kernel = KERNEL
    triton.runtime.driver.set_active(NoGpu())
    compile_all(launch_of(layers()["depthwise"]), [NARROW, Tile(64, 32, 8, 64, 4, 2)])
    kernels, *_ = KERNEL.device_caches[0]
    return len(kernels)


KERNEL = conv_launch.conv_if_kernel


def main() -> None:
    built = {name: facts(found) for name, found in (*conv_variants(), *other_kernels())}
    json.dump({"variants": built, "side by side": side_by_side()}, sys.stdout)


if __name__ == "__main__":
    main()
