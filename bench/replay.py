"""Tasks as CUDA graphs: what a GPU needs for them, without what a CPU needs to start them."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARMUP = 3


def replayed(task: Callable[[], object], device: torch.device) -> tuple[Callable[[], object], bool]:
    """The task as a graph that is replayed, and True; where none can be made, itself and False.

    A kernel of 0.1 ms is over before Python has launched the next one, so that a loop over calls
    would time Python. What a call does besides launching, once, is not repeated by a graph.
    """
    if device.type != "cuda":
        return task, False
    graph = torch.cuda.CUDAGraph()
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUP):
                task()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):  # torch's own is of the first GPU
            task()
    except (
        RuntimeError
    ):  # it waits for the device, or a graph's memory beside the others' is too much
        torch.cuda.synchronize()
        return task, False
    return graph.replay, True
