"""The kernel runs in Triton's interpreter where there is no GPU, compiled where there is one.

Which of the two, triton.jit decides at import: the suite's conftest.py sets TRITON_INTERPRET, and
here it is made sure that this was in time.
"""

from __future__ import annotations

import os
import sys

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":
    if not torch.cuda.is_available():
        raise pytest.UsageError(
            "tests/kernels: torch sees no GPU, so they need Triton's interpreter; "
            "run TRITON_INTERPRET=1 pytest tests/kernels"
        )
elif "triton" in sys.modules:
    from triton.language import zeros
    from triton.runtime.interpreter import InterpretedFunction

    if not isinstance(zeros, InterpretedFunction):
        raise pytest.UsageError(
            "tests/kernels: triton was imported before TRITON_INTERPRET=1 was set; "
            "run them in a process of their own: TRITON_INTERPRET=1 pytest tests/kernels"
        )
