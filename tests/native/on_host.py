"""The CUDA kernel's threads compiled by the C++ compiler and run on the host, one after another."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tests.native.cases import DTYPES, EMITS

ROOT = Path(__file__).parents[2]
MAX_RANK = 8
Dimensions = ctypes.c_int64 * MAX_RANK


class Operand(ctypes.Structure):
    """`IfOperand` of csrc/cuda/work.h."""

    _fields_ = (("data", ctypes.c_void_p), ("strides", Dimensions))


class Work(ctypes.Structure):
    """`IfWork` of csrc/cuda/work.h."""

    _fields_ = (
        ("neurons", ctypes.c_int64),
        ("T", ctypes.c_int64),
        ("rank", ctypes.c_int),
        ("sizes", Dimensions),
        ("x_stride_t", ctypes.c_int64),
        ("bias_stride_t", ctypes.c_int64),
        ("x", Operand),
        ("theta", Operand),
        ("v_init", Operand),
        ("bias", Operand),
        ("count_init", Operand),
        ("emitted", ctypes.c_void_p),
        ("v", ctypes.c_void_p),
        ("last", ctypes.c_bool),
        ("trace", ctypes.c_bool),
        ("v_reset", ctypes.c_float),
        ("hard", ctypes.c_bool),
        ("tie_fires", ctypes.c_bool),
    )


def compile_threads(folder: Path) -> ctypes.CDLL:
    """Compile tests/native/threads.cpp with the C++ compiler in CXX, or c++."""
    library = folder / "threads.so"
    subprocess.run(
        [
            *shlex.split(os.environ.get("CXX", "c++")),
            *("-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"),
            *("-I", str(ROOT / "csrc"), "-o", str(library)),
            str(Path(__file__).with_name("threads.cpp")),
        ],
        check=True,
    )
    threads = ctypes.CDLL(str(library))
    threads.size_of_work.restype = ctypes.c_int64
    threads.run_threads.argtypes = (
        ctypes.POINTER(Work),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_int64,
    )
    return threads


def _operand(tensor: Tensor | None, strides: Sequence[int]) -> Operand:
    return Operand(None if tensor is None else tensor.data_ptr(), Dimensions(*strides))


class HostThreads:
    """Callable as the operators are.

    `taken` collects how many neurons a thread took at once, and whether with a bias in time.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self.library = library
        self.threads = threads
        self.taken: set[tuple[torch.dtype, int, bool]] = set()

    def __call__(
        self,
        *,
        x: Tensor,
        v_threshold: Tensor,
        v_init: Tensor,
        bias: Tensor | None,
        count_init: Tensor | None,
        emitted: Tensor,
        v: Tensor | None,
        T: int,
        sizes: Sequence[int],
        x_stride_t: int,
        x_strides: Sequence[int],
        threshold_strides: Sequence[int],
        v_init_strides: Sequence[int],
        bias_stride_t: int,
        bias_strides: Sequence[int],
        count_strides: Sequence[int],
        hard: bool,
        v_reset: float,
        signed: bool,
        tie_fires: bool,
        emit: str,
        return_v: str,
    ) -> None:
        work = Work(
            torch.Size(sizes).numel(),
            T,
            len(sizes),
            Dimensions(*sizes),
            x_stride_t,
            bias_stride_t,
            _operand(x, x_strides),
            _operand(v_threshold, threshold_strides),
            _operand(v_init, v_init_strides),
            _operand(bias, bias_strides),
            _operand(count_init, count_strides),
            emitted.data_ptr(),
            None if v is None else v.data_ptr(),
            return_v == "last",
            return_v == "all",
            v_reset,
            hard,
            tie_fires,
        )
        taken = self.library.run_threads(
            work, DTYPES.index(x.dtype), EMITS.index(emit), signed, self.threads
        )
        self.taken.add((x.dtype, taken, bias_stride_t != 0))
