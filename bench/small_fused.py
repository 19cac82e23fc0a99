"""Integer layers of every kind and an encoder, on a few images, in Triton: food for a sanitizer.

    compute-sanitizer --tool memcheck python bench/small_fused.py

Sizes are odd, so that every tail is exercised. Spikes, counts and membranes must equal the
reference's; the exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from itertools import product

if any(argument == "cpu" or argument.endswith("=cpu") for argument in sys.argv[1:]):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read where a kernel is defined

import torch

from gpu_layers import Shape, make_layer, make_train
from options import add_device
from spikeconv.fuse.encoder import Encoder, Unpooled
from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.gpu import MULTIPLY, TritonEngine
from spikeconv.fuse.layer import Convolution, Pool
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops import if_multistep

ALL = {"want_spikes": True, "want_count": True, "want_state": True}


def main(arguments: list[str] | None = None) -> int:
    """Run and compare all cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_device(parser, "cuda")
    device = torch.device(parser.parse_args(arguments).device)
    os.environ.setdefault("SPIKECONV_TUNE", "0")  # one tile a layer: under a sanitizer all is slow
    kinds = ("plain", "int16", "int24", "depthwise", "groups", "strided", "pooled")
    cases = list(product(kinds, (False, True), MULTIPLY))
    wrong: list[object] = [case for case in cases if not agrees(device, *case)]
    if not encodes(device):
        wrong.append("encoder")
    for case in wrong:
        print(f"differs from the reference: {case}", file=sys.stderr)
    print(f"{len(cases) + 1} cases, {len(wrong)} wrong")
    return 1 if wrong else 0


def agrees(device: torch.device, kind: str, signed: bool, multiply: str) -> bool:
    """Whether a layer gives the reference's bits, in one run and in the one after it."""
    shape = Shape(18, 5, 2, 9, signed, shortcut=kind == "plain")
    layer, source = make_layer(shape, device)
    train = make_train(shape, device)
    weight = layer.convolutions[0].weight
    convolution = {
        "plain": layer.convolutions[0],
        "int16": Convolution("s", weight.to(torch.int16) * 200, padding=(1, 1)),
        "int24": Convolution("s", weight.to(torch.int32) * 50_000, padding=(1, 1)),
        "depthwise": Convolution("s", weight[:, :1], padding=(1, 1), groups=18),
        "groups": Convolution("s", weight[:, :9], padding=(1, 1), groups=2),
        "strided": Convolution("s", weight, (2, 1), (1, 1), (1, 2)),
        "pooled": Convolution("p", weight, padding=(1, 1)),
    }[kind]
    layer = replace(layer, convolutions=(convolution,))
    if kind == "strided":
        layer = replace(layer, shape=(18, 3, 3))
    pool = Pool("p", "s", (2, 2), (1, 1), (0, 0), (18, 5, 5))
    sums = Source("p", pool.shape, 4, signed, source.halo)
    program = IntegerProgram({"n": layer}, {"p": pool}, {"s": source, "p": sums})
    ours, reference = TritonEngine(program, multiply=multiply), ReferenceEngine(program)
    spikes = {"s": ours.pack("s", train)}
    wanted_spikes = {"s": train}
    if kind == "pooled":
        spikes["p"] = ours.run_pool(pool, spikes["s"])
        wanted_spikes["p"] = reference.run_pool(pool, train)
    state = None
    for _ in range(2):
        found = ours.run_layer(layer, spikes, state, **ALL)
        wanted = reference.run_layer(layer, wanted_spikes, state, **ALL)
        bits = 2 if signed else 1
        assert found.count is not None
        assert wanted.count is not None
        if not torch.equal(found.count, wanted.count):
            return False
        assert found.state is not None
        assert wanted.state is not None
        if not torch.equal(found.state.v, wanted.state.v):
            return False
        if not torch.equal(found.spikes.data, packed(wanted.spikes, bits)):
            return False
        state = wanted.state
    return True


def encodes(device: torch.device) -> bool:
    """Whether neurons behind a bias and a max-pool give the spikes that torch's pool leads to."""
    random = torch.Generator().manual_seed(0)
    pool = torch.nn.MaxPool2d(3, 2, 1)
    x, offset = torch.randn(2, 18, 9, 7, generator=random), torch.randn(18, generator=random)
    given = Unpooled(x.to(device), offset.to(device), pool, (18, 5, 4))
    theta, v = (torch.full((18, 1, 1), value, device=device) for value in (0.75, 0.25))
    encoder, program = Encoder("s", theta, v, None), IntegerProgram({}, {}, {})
    ours = TritonEngine(program).encode(encoder, given, 9)
    wanted, _ = if_multistep(given.current, theta, v, T=9, emit="uint8", backend="reference")
    return torch.equal(ours.data, packed(wanted, 1))


def packed(train: torch.Tensor, bits: int) -> torch.Tensor:
    """The fields of a train."""
    from spikeconv.kernels.pack import pack

    fields: torch.Tensor = pack(train, bits)
    return fields


if __name__ == "__main__":
    sys.exit(main())
