"""Interleaved timing: every round runs every contestant once, so that drift hits all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Task = Callable[[], object]
Stopwatch = Callable[[Task, int], float]
"""Seconds that a number of calls in a row took."""


@dataclass(frozen=True)
class Times:
    """Seconds of one call: median and quartiles over the rounds."""

    median: float
    q25: float
    q75: float
    rounds: int


def cpu_stopwatch(task: Task, calls: int) -> float:
    """Wall-clock seconds of `calls` calls."""
    start = time.perf_counter()
    for _ in range(calls):
        task()
    return time.perf_counter() - start


def process_stopwatch(task: Task, calls: int) -> float:
    """Processor seconds of all the process's threads on `calls` calls: no other's work is in them.

    For other libraries' code, which may hand a part to threads of its own: that must count.
    """
    start = time.process_time()
    for _ in range(calls):
        task()
    return time.process_time() - start


def thread_stopwatch(task: Task, calls: int) -> float:
    """Processor seconds of the calling thread alone on `calls` calls.

    For our kernels on one thread, which do all their work there: what the process's other threads
    do meanwhile, as a pool that waits for work, must not count as in `process_stopwatch`.
    """
    start = time.thread_time()
    for _ in range(calls):
        task()
    return time.thread_time() - start


def cuda_stopwatch(task: Task, calls: int) -> float:
    """Seconds between two events around `calls` calls on the current stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        task()
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000


def stopwatch_for(device: torch.device) -> Stopwatch:
    """Events on a GPU, whose work is asynchronous; the wall clock on a CPU."""
    return cuda_stopwatch if device.type == "cuda" else cpu_stopwatch


def summary(samples: list[float]) -> Times:
    """Median and quartiles of a list of seconds.

    >>> summary([4.0, 1.0, 3.0, 2.0, 5.0])
    Times(median=3.0, q25=2.0, q75=4.0, rounds=5)
    """
    if len(samples) == 1:
        return Times(samples[0], samples[0], samples[0], 1)
    q25, median, q75 = statistics.quantiles(samples, n=4, method="inclusive")
    return Times(median, q25, q75, len(samples))


def interleaved(
    tasks: Mapping[str, Task],
    rounds: int,
    stopwatch: Stopwatch,
    *,
    warmup: int = 2,
    min_seconds: float = 0.0,
) -> dict[str, Times]:
    """Time all tasks in turn, `rounds` times, each round beginning with another of them.

    Args:
        tasks: name -> what is timed.
        rounds: samples of each task, 1 or more.
        stopwatch: how a sample is taken.
        warmup: calls of each task before the first sample; the last of them says how many calls
            one sample needs.
        min_seconds: a sample repeats its task until it should last this long. On a GPU this hides
            the launch of the first kernel behind the run of the others.

    Returns:
        name -> seconds of one call.

    Raises:
        ValueError: `rounds` or `warmup` below 1.
    """
    if rounds < 1 or warmup < 1:
        raise ValueError(
            f"interleaved: rounds and warmup must be 1 or more, got {rounds}, {warmup}"
        )
    names = list(tasks)
    calls = {}
    for name in names:
        for _ in range(warmup):
            last = stopwatch(tasks[name], 1)
        calls[name] = max(1, math.ceil(min_seconds / max(last, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        first = i % max(len(names), 1)
        for name in names[first:] + names[:first]:
            samples[name].append(stopwatch(tasks[name], calls[name]) / calls[name])
    return {name: summary(taken) for name, taken in samples.items()}
