"""Every compiled backend, dtype and emit once on a few thousand neurons: food for a sanitizer.

    compute-sanitizer --tool memcheck python bench/small_case.py

Sizes are odd and the input is strided, so that every tail and every offset is exercised. The
outputs and the gradients must equal the reference's; the exit status is 1 otherwise, or if no
backend could run.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import torch
from torch import Tensor

import spikeconv
from options import add_device
from ours import BACKENDS, DTYPES, EMITS, runnable
from spikeconv.surrogate import ATan

T, N = 7, 3001


def main(arguments: list[str] | None = None) -> int:
    """Run and compare all cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_device(parser, "cuda")
    options = parser.parse_args(arguments)
    able, unable = runnable(list(BACKENDS[options.device]))
    for name, reason in unable.items():
        print(f"{name}: {reason}")
    device = torch.device(options.device)
    cases = list(itertools.product(able, DTYPES.values(), EMITS, (False, True), (False, True)))
    wrong: list[object] = [case for case in cases if not agrees(device, *case)]
    back = list(itertools.product(able, DTYPES.values(), ("soft", "hard"), (False, True)))
    wrong += [case for case in back if not agrees_backwards(device, *case)]
    for case in wrong:
        print(f"differs from the reference: {case}", file=sys.stderr)
    print(f"{len(cases) + len(back)} cases, {len(wrong)} wrong")
    return 1 if wrong or not cases else 0


def current(device: torch.device, dtype: torch.dtype, strided: bool) -> Tensor:
    """Random current [T, N], every other element of a row where strided."""
    x = torch.randn(T, 2 * N, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    return x[:, ::2] if strided else x[:, :N]


def agrees(
    device: torch.device,
    backend: str,
    dtype: torch.dtype,
    emit: str,
    strided: bool,
    per_neuron: bool,
) -> bool:
    """Whether a backend gives the reference's bits, for what is emitted and for the membrane."""
    x = current(device, dtype, strided)
    theta: Tensor | float = 1.0
    if per_neuron:
        theta = (torch.rand(N, generator=torch.Generator().manual_seed(1)) + 0.5).to(device)

    def outputs(name: str) -> tuple[Tensor, Tensor | None]:
        return spikeconv.if_multistep(x, theta, 0.5, emit=emit, return_v="all", backend=name)

    (emitted, v), (wanted, wanted_v) = outputs(backend), outputs("reference")
    assert v is not None
    assert wanted_v is not None
    return torch.equal(emitted, wanted) and torch.equal(v, wanted_v)


def agrees_backwards(
    device: torch.device, backend: str, dtype: torch.dtype, reset: str, strided: bool
) -> bool:
    """Whether a backend gives the reference's gradients, also of a threshold and a bias for all."""
    x = current(device, dtype, strided).requires_grad_()
    theta, bias = (torch.full((1,), value, device=device) for value in (0.75, 0.125))
    leaves = [x, theta.requires_grad_(), bias.requires_grad_()]

    def gradients(name: str) -> tuple[Tensor, ...]:
        emitted, v = spikeconv.if_multistep(
            x, theta, 0.5, bias, reset=reset, emit="psp", surrogate=ATan(), backend=name
        )
        assert v is not None
        return torch.autograd.grad([emitted, v], leaves, [emitted.detach(), v.detach()])

    pairs = zip(gradients(backend), gradients("reference"), strict=True)
    return all(torch.equal(got, wanted) for got, wanted in pairs)


if __name__ == "__main__":
    sys.exit(main())
