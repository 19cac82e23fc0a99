"""The memory that one call needs at its peak.

Why the peak is read from the kernel's count of resident pages, and not from torch's allocator:
oneDNN's reordered copies and a kernel's own scratch do not pass through torch's allocator, and they
are part of the price. A subprocess for every contestant would see the same pages, but would build
and compile everything again.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import torch

from spikeconv.allocator import c_library

_MB = 1e6


def peak_memory_mb(task: Callable[[], object], device: torch.device) -> float | None:
    """Memory in MB that one call of a warm task needs at its peak beyond what is held before it.

    On a GPU torch's caching allocator tells. On Linux the kernel does: its high-water mark of
    resident pages is set back, then read after the call. None where neither can tell.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        task()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated(device) - before) / _MB
    library = c_library()
    if library is None:
        return None
    # Pages that malloc still holds would be used again unseen: give them back first.
    library.malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    resident = _status_kb("VmRSS")
    task()
    return (_status_kb("VmHWM") - resident) * 1024 / _MB


def _status_kb(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no line {field}")
