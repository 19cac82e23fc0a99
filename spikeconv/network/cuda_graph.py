"""Calls captured as CUDA graphs, which share one pool of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spikeconv.network.structure import map_tensors

Run: TypeAlias = Callable[[Sequence[Tensor]], Any]
"""From inputs to nested outputs."""

# Calls before a capture: libraries choose algorithms and allocate in the first ones.
_WARMUP = 3


class CudaGraphs:
    """Captures calls, and replays them one after the other on whatever stream they are called.

    The graphs share their memory: the outputs of a replay are copied before another one runs.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        # Graphs share memory only where they are captured on the same stream. Torch's own stream
        # for captures belongs to whichever GPU was the first.
        self._aside: torch.cuda.Stream | None = None
        self._last: torch.cuda.Event | None = None

    def forget(self) -> None:
        """Begin with new memory, once the last replay is done with the old."""
        if self._last is not None:
            self._last.synchronize()
        self._pool = self._aside = self._last = None

    def check(self, inputs: Sequence[Tensor]) -> None:
        """Raise ValueError where there can be no graph."""
        for x in inputs:
            if not x.is_cuda:
                raise ValueError(
                    f"SpikingNetwork.graph: inputs must be on a CUDA GPU, got {x.device}; call the "
                    "network itself there"
                )

    def capture(self, run: Run, inputs: Sequence[Tensor]) -> Run:
        """Capture a run on inputs like these; what is returned replays it on others.

        Raises:
            RuntimeError: `run` waits for the GPU somewhere.
        """
        with torch.cuda.device(inputs[0].device), capturable():
            self._wait()
            buffers = [torch.empty_like(x).copy_(x) for x in inputs]
            here = torch.cuda.current_stream()
            if self._aside is None or self._aside.device != here.device:
                self._aside = torch.cuda.Stream()
            aside = self._aside
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(_WARMUP):
                    run(buffers)
            here.wait_stream(aside)
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self._pool, stream=aside):
                    output = run(buffers)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise RuntimeError(
                    "SpikingNetwork.graph: the network cannot be captured in a CUDA graph: one of "
                    "its layers waits for the GPU, for a value or for a size that depends on "
                    f"values; call the network itself. CUDA says: {error}"
                ) from error

        def replay(inputs: Sequence[Tensor]) -> Any:
            with torch.cuda.device(buffers[0].device), torch.no_grad():
                self._wait()
                for buffer, x in zip(buffers, inputs, strict=True):
                    buffer.copy_(x)
                graph.replay()
                copy = map_tensors(torch.clone, output)
                self._last = torch.cuda.Event()
                self._last.record()
                return copy

        return replay

    def _wait(self) -> None:
        """Let the current stream wait until the last replay is done with the shared memory."""
        if self._last is not None:
            self._last.wait()


@contextmanager
def capturable() -> Iterator[None]:
    """Without gradients, with buffers that calls outside of inference mode may fill too, and
    without autocast's cache: it frees casts that a graph would go on reading."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        torch.set_autocast_cache_enabled(cached)
