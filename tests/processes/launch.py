"""Scripts that torchrun starts in several processes, on one thread each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def torchrun(script: Path, count: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script in so many processes; a hang fails the test after two minutes."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run(
        [sys.executable, *launch, str(script), *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
    )


def said(run: subprocess.CompletedProcess[str]) -> list[str]:
    """What this package's processes said on standard error, apart from what torchrun says."""
    return [line for line in run.stderr.splitlines() if line.startswith("spikeconv: ")]
