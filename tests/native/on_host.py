"""The CUDA kernels' threads compiled by the C++ compiler and run on the host, one after another."""

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


class BackwardWork(ctypes.Structure):
    """`BackwardWork` of csrc/cuda/backward_work.h."""

    _fields_ = (
        ("run", Work),
        ("grad_emitted", ctypes.c_void_p),
        ("grad_v", ctypes.c_void_p),
        ("slope", ctypes.c_void_p),
        ("grad_x", ctypes.c_void_p),
        ("grad_m", ctypes.c_void_p),
        ("grad_sum", ctypes.c_void_p),
        ("grad_theta", ctypes.c_void_p),
        ("grad_v_init", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("a", ctypes.c_float),
        ("b", ctypes.c_float),
        ("psp", ctypes.c_bool),
        ("trace", ctypes.c_bool),
        ("detach_reset", ctypes.c_bool),
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
    threads.size_of_backward_work.restype = ctypes.c_int64
    threads.starts_of.restype = ctypes.c_int64
    threads.starts_of.argtypes = (ctypes.c_int64, ctypes.c_int64)
    threads.run_threads_back.argtypes = (
        ctypes.POINTER(BackwardWork),
        *(ctypes.c_int, ctypes.c_int),
        ctypes.c_int64,
    )
    return threads


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _operand(tensor: Tensor | None, strides: Sequence[int]) -> Operand:
    return Operand(_address(tensor), Dimensions(*strides))


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
            _address(v),
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


class HostThreadsBack:
    """Callable as the backward operators are; `taken` collects how many neurons a thread took."""

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self.library = library
        self.threads = threads
        self.taken: set[tuple[torch.dtype, int]] = set()

    def __call__(
        self,
        x: Tensor,
        v_threshold: Tensor,
        v_init: Tensor,
        bias: Tensor | None,
        grad_emitted: Tensor | None,
        grad_v: Tensor | None,
        slope: Tensor | None,
        grad_x: Tensor | None,
        grad_m: Tensor | None,
        grad_sum: Tensor | None,
        grad_threshold: Tensor | None,
        grad_v_init: Tensor | None,
        T: int,
        sizes: Sequence[int],
        x_stride_t: int,
        x_strides: Sequence[int],
        threshold_strides: Sequence[int],
        v_init_strides: Sequence[int],
        bias_stride_t: int,
        bias_strides: Sequence[int],
        hard: bool,
        v_reset: float,
        tie_fires: bool,
        psp: bool,
        trace: bool,
        detach_reset: bool,
        surrogate: str,
        a: float,
        b: float,
    ) -> None:
        neurons = torch.Size(sizes).numel()
        run = Work(
            neurons,
            T,
            len(sizes),
            Dimensions(*sizes),
            x_stride_t,
            bias_stride_t,
            _operand(x, x_strides),
            _operand(v_threshold, threshold_strides),
            _operand(v_init, v_init_strides),
            _operand(bias, bias_strides),
            _operand(None, []),
            None,
            None,
            False,
            False,
            v_reset,
            hard,
            tie_fires,
        )
        starts = torch.full((self.library.starts_of(T, neurons),), torch.nan)
        gradients = (grad_emitted, grad_v, slope, grad_x, grad_m, grad_sum)
        work = BackwardWork(
            run,
            *map(_address, (*gradients, grad_threshold, grad_v_init, starts)),
            a,
            b,
            psp,
            trace,
            detach_reset,
        )
        name = ("sigmoid", "atan", "piecewise_linear", "given").index(surrogate)
        taken = self.library.run_threads_back(work, DTYPES.index(x.dtype), name, self.threads)
        self.taken.add((x.dtype, taken))
