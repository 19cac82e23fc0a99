"""One thread for small networks, and the same random numbers in every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread_one_seed() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and lose much on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
