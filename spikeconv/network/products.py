"""Multiplications inside what was kept analog: attention, transformers' layers, recurrent cells."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from spikeconv.network.program import Phase, Step
from spikeconv.network.run_step import Layers, run_step

_MODULES = (
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.Transformer,
    nn.LSTMCell,
    nn.GRUCell,
    nn.RNNCell,
)
_FUNCTIONS = frozenset(
    {
        F.scaled_dot_product_attention,
        F.multi_head_attention_forward,
        torch.inner,
        torch.chain_matmul,
        torch.linalg.matmul,
        torch.linalg.multi_dot,
    }
)
_METHODS = frozenset({"inner"})


# How torch computes attention is set for all threads, and set back.
_ONE_AT_A_TIME = threading.Lock()


def holds_products(step: Step, layers: Layers) -> bool:
    """Whether a call that has no spiking form multiplies matrices, its own or others, within."""
    if step.phase is Phase.CONSTANT:
        return False
    if step.kind == "module":
        return isinstance(layers[step.target], _MODULES)
    return step.target in {"function": _FUNCTIONS, "method": _METHODS}.get(step.kind, ())


def macs_within(step: Step, layers: Layers, args: Any, kwargs: Any) -> int:
    """The multiplications of all products of matrices that a call computes, each with an addition.

    Args:
        step: the call, which is made.
        layers: holds its layer, if it calls one.
        args, kwargs: its arguments, filled in.
    """
    from torch.utils.flop_counter import FlopCounterMode  # which imports triton where it is

    with _ONE_AT_A_TIME, _in_parts(), FlopCounterMode(display=False) as counter:
        run_step(step, layers, args, kwargs)
    return int(counter.get_total_flops()) // 2


@contextmanager
def _in_parts() -> Iterator[None]:
    """Inside, torch computes attention by products that can be seen, not by one kernel for all."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
