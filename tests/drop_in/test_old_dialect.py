"""SpikingJelly 0.0.0.0.14, on which most published code stands, by a stand-in at its path.

It cannot be installed beside 2.0.0, so the comparison runs in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "old_dialect"
ROOT = HERE.parents[2]


def test_the_old_dialect_agrees(tmp_path: Path) -> None:
    package = tmp_path / "spikingjelly" / "activation_based"
    shutil.copytree(HERE, package)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    run = subprocess.run(
        [sys.executable, str(HERE / "compare.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT)))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "the old dialect agrees\n"
