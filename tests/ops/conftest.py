"""Where the extension is not built there is nothing whose memory could be measured."""

from __future__ import annotations

from tests.helpers import runnable

collect_ignore = [] if "cpp" in runnable() else ["test_memory.py", "test_gradient_memory.py"]
