"""The machine line: what a number cannot be read without."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import torch

from spikeconv.environment import machine, versions

Facts = dict[str, str | int | float | bool | None]


def machine_facts(device: torch.device) -> Facts:
    """Processor, threads, versions, commit and, for a GPU, what its bandwidth depends on."""
    facts: Facts = {
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "commit": _commit(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "spikingjelly": _version_of("spikingjelly"),
        **versions(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "gpu_processors": properties.multi_processor_count,
        }
    return facts


def machine_line(facts: Facts) -> str:
    """The facts in one line for the screen."""
    return (
        f"{facts['machine']}, {facts['isa']}; load {facts['load']}; torch {facts['torch']}, "
        f"triton {facts['triton']}; OMP_WAIT_POLICY={facts['omp_wait_policy']}; "
        f"commit {facts['commit']}"
    )


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Short hash of the checkout, with a mark where tracked files differ from it.

    Of a copy without its history ``SPIKECONV_COMMIT`` may say it.
    """
    here = Path(__file__).resolve().parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SPIKECONV_COMMIT")
    return found.stdout.strip()
