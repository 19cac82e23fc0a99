"""What a measurement depends on besides the code: versions and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

import spikeconv

_CPUINFO = Path("/proc/cpuinfo")
# Flags of processors that multiply bfloat16 themselves: Sapphire Rapids on; Cooper Lake, Zen 4 on.
_FAST_BF16 = frozenset({"amx_bf16", "avx512_bf16"})


def versions() -> dict[str, str | None]:
    """Return the version of each package that matters, None where it is not installed.

    Example:
        >>> versions()["torch"] == torch.__version__
        True
    """
    found: dict[str, str | None] = {
        "spikeconv": spikeconv.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
    for package in ("triton", "torchvision"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def machine() -> str:
    """Return one line: processor, cores, threads in use, system, and the GPU where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    parts = [
        _processor(),
        f"{cores} core{'s' * (cores != 1)}",
        f"{threads} thread{'s' * (threads != 1)}",
        f"{platform.system()} {platform.machine()}",
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def has_fast_bf16(device: str) -> bool:
    """Whether bfloat16 convolutions are faster than float32 ones here.

    That is where a GPU or the processor has instructions for them.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _CPUINFO.exists() and not _FAST_BF16.isdisjoint(_CPUINFO.read_text().split())


def _processor() -> str:
    """Return the processor's name; platform.processor() leaves it empty on most of Linux."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
