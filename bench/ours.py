"""Our operator as the benchmarks call it, and what it is tried with."""

from __future__ import annotations

import torch
from torch import Tensor

import spikeconv

EMITS = ("spikes", "psp", "uint8", "words", "count")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

BACKENDS = {"cpu": ("cpp",), "cuda": ("triton", "cuda")}
"""The compiled backends of each device; the reference is what they are checked against."""


def runnable(backends: list[str]) -> tuple[list[str], dict[str, str]]:
    """Those of `backends` that can run on this machine, and why the others cannot."""
    reasons = spikeconv.backends()
    able = [name for name in backends if reasons[name] is None]
    return able, {name: str(reasons[name]) for name in backends if name not in able}


def run(x: Tensor, backend: str, emit: str) -> Tensor:
    """One call; the final membrane is not asked for, hence not written."""
    emitted, _ = spikeconv.if_multistep(x, emit=emit, return_v=None, backend=backend)
    return emitted
