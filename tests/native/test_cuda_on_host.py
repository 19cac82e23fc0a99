"""The logic of the CUDA kernels, without a GPU: their threads run on the host."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.native import sweep_back
from tests.native.cases import DTYPES
from tests.native.on_host import (
    BackwardWork,
    HostThreads,
    HostThreadsBack,
    Work,
    compile_threads,
)
from tests.native.sweep import sweep


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder: Path = tmp_path_factory.mktemp("threads")
    return compile_threads(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The many small tensors of a sweep are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_structure_is_the_one_of_the_header(library: ctypes.CDLL) -> None:
    assert library.size_of_work() == ctypes.sizeof(Work)
    assert library.size_of_backward_work() == ctypes.sizeof(BackwardWork)


def test_every_option_and_both_widths(library: ctypes.CDLL, one_thread: None) -> None:
    threads = HostThreads(library, threads=37)  # fewer than groups: each takes several
    assert sweep(threads) > 2000
    widths = {(dtype, 1) for dtype in DTYPES} | {(torch.float32, 4)}
    widths |= {(torch.float16, 8), (torch.bfloat16, 8)}
    assert threads.taken == {(*width, timed) for width in widths for timed in (False, True)}


def test_every_option_and_both_widths_on_the_way_back(
    library: ctypes.CDLL, one_thread: None
) -> None:
    threads = HostThreadsBack(library, threads=37)
    assert sweep_back.sweep(threads) > 1000
    assert threads.taken == {(dtype, count) for dtype in DTYPES for count in (1, 4)}
