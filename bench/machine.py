"""The machine line: what a number cannot be read without."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

Facts = dict[str, str | int | float | bool | None]


def machine_facts(device: torch.device) -> Facts:
    """CPU, threads, versions, commit and, on a GPU, its name: ready for JSON."""
    facts: Facts = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version_of("triton"),
        "spikeconv": _version_of("spikeconv"),
        "spikingjelly": _version_of("spikingjelly"),
        "commit": _commit(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gpu": None,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "gpu_processors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return facts


def machine_line(facts: Facts) -> str:
    """The facts in one line for the screen."""
    head = f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads, {facts['isa']}"
    if facts["gpu"] is not None:
        head = f"{facts['gpu']} (CUDA {facts['cuda']}); {head}"
    return (
        f"{head}; load {facts['load']}; torch {facts['torch']}, triton {facts['triton']}; "
        f"OMP_WAIT_POLICY={facts['omp_wait_policy']}; commit {facts['commit']}"
    )


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version_of(package: str) -> str | None:
    return version(package) if importlib.util.find_spec(package) is not None else None


def _commit() -> str | None:
    """Short hash of the checkout, with a mark where tracked files differ from it."""
    here = Path(__file__).resolve().parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
