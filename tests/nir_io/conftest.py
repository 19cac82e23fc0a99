"""One thread and the same random numbers, as for the conversions that these files hold."""

from __future__ import annotations

from tests.convert.conftest import one_thread_one_seed

__all__ = ["one_thread_one_seed"]
