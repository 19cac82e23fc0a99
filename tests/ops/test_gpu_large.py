"""More than 2^31 elements: where an offset of 32 bits would wrap around."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from tests.helpers import runnable

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
LIMIT = 2**31
CHUNK = 2**27

each_backend = pytest.mark.parametrize(
    "backend", [name for name in runnable(DEVICE) if name != "reference"] or ["triton", "cuda"]
)


@pytest.fixture(autouse=True)
def _give_memory_back() -> Iterator[None]:
    yield
    torch.cuda.empty_cache()


def half_currents(*shape: int) -> Tensor:
    """Random currents from 0 to 1 in float16."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    return torch.empty(shape, dtype=torch.float16, device=DEVICE).uniform_(generator=generator)


def check_chunks(x: Tensor, backend: str, **arguments: Any) -> None:
    """Neurons do not see each other: every chunk of the whole is the reference's of that chunk."""
    emitted, _ = if_multistep(x, 0.75, return_v=None, **arguments, backend=backend)
    for start in range(0, x.shape[-1], CHUNK):
        part = slice(start, start + CHUNK)
        wanted, _ = if_multistep(
            x[..., part], 0.75, return_v=None, **arguments, backend="reference"
        )
        assert torch.equal(emitted[..., part], wanted), f"from neuron {start} on"


@each_backend
def test_input_and_output(backend: str) -> None:
    x = half_currents(2, LIMIT // 2 + 77)
    assert x.numel() > LIMIT
    check_chunks(x, backend, emit="uint8")


@each_backend
def test_neurons(backend: str) -> None:
    check_chunks(half_currents(LIMIT + 77), backend, T=2, emit="words")


@each_backend
def test_strides(backend: str) -> None:
    check_chunks(half_currents(2, LIMIT + 78)[:, ::2], backend, emit="count")
