"""Compile variants of the kernel for GPUs that are not here, and print what came out as JSON.

Run by test_compiled.py in a process without TRITON_INTERPRET. The launcher runs as always, on small
tensors; in place of the kernel stands a recorder that compiles for what it was given.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from spikeconv.kernels import if_multistep, if_multistep_backward
from tests.kernels import if_case
from tests.kernels.if_case import Case

FORWARD = if_multistep.if_multistep_fwd_kernel
BACKWARD = if_multistep_backward.if_multistep_bwd_kernel
OLDER_GPU = {"float32 spikes", "bfloat16 psp", "float16 words", "bfloat16 signed"}
ACCESS = re.compile(r"\b(ld|st)\.global[.:\w]*?(?:\.v(\d))?\.[bsuf](\d+)\s")


class Recorder:
    """Stands for a kernel: compiles for one architecture instead of launching."""

    def __init__(self, kernel: Any, arch: int) -> None:
        self.kernel = kernel
        self.target = GPUTarget("cuda", arch, 32)
        self.backend = make_backend(self.target)
        self.binder = create_function_from_signature(kernel.signature, kernel.params, self.backend)
        self.key = ""
        self.compiled: Any = None
        self.compiles = True

    def __getitem__(self, grid: tuple[int]) -> Any:
        return self.record

    def record(self, *given_in_order: Any, **arguments: Any) -> None:
        # What JITFunction.run does up to the launch.
        arguments |= zip(self.kernel.arg_names, given_in_order, strict=False)
        arguments["debug"] = False
        bound, specialization, given = self.binder(**arguments)
        self.key = f"{specialization} {sorted(given.items())}"
        if self.compiles:
            options, signature, constants, attributes = self.kernel._pack_args(
                self.backend, arguments, bound, specialization, given
            )
            source = ASTSource(self.kernel, signature, constants, attributes)
            self.compiled = triton.compile(source, target=self.target, options=options.__dict__)


def variants() -> dict[str, Case]:
    """The calls whose code is looked at, by name."""
    one, per_neuron, per_channel = torch.ones(()), torch.ones(4096), torch.ones(8, 1, 1)
    made = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        flat = Case(torch.zeros(16, 4096, dtype=dtype), one, one)
        maps = replace(flat, x=torch.zeros(16, 4, 8, 16, 16, dtype=dtype))
        rows = torch.zeros(16, 4, 8, 16, 32, dtype=dtype)[..., :16]
        cases = {emit: replace(flat, emit=emit) for emit in if_case.EMITS} | {
            "alone": replace(flat, return_v="none"),
            "trace": replace(flat, return_v="all"),
            "static": replace(flat, x=flat.x[0], T=16),
            "hard": replace(flat, hard=True),
            "ties wait": replace(flat, tie_fires=False),
            "signed": replace(flat, signed=True, emit="psp", count_init=one.int()),
            "per neuron": replace(flat, theta=per_neuron, bias=per_neuron),
            "per channel": replace(maps, theta=per_channel, v_init=per_channel, bias=per_channel),
            "bias a step": replace(flat, bias=torch.ones(16, 1)),
            "bias a step and channel": replace(maps, bias=torch.ones(16, 1, 8, 1, 1)),
            "bias a step and neuron": replace(flat, bias=torch.ones(16, 4096)),
            "strided": replace(maps, x=rows, theta=per_channel),
        }
        # Strides and sizes of 1 become constants of the code.
        cases["one neuron"] = replace(flat, x=flat.x[:, :1])
        cases["time innermost"] = replace(flat, x=flat.x.view(4096, 16).T)
        cases["eight dimensions"] = replace(
            flat, x=torch.zeros([3] + [2] * 8, dtype=dtype).permute(0, *range(8, 0, -1))
        )
        made |= {f"{str(dtype).removeprefix('torch.')} {name}": c for name, c in cases.items()}
    return made


def go_back(case: Case, T: int = 16, **options: Any) -> None:
    """Launch the backward kernel on a flat case whose every gradient is wanted."""
    x, (N,) = case.x, case.shape
    numbers = torch.empty(N)
    bias, bias_stride_t = case.bias, 0
    if bias is not None and case.bias_in_time:
        bias_stride_t = bias.stride(0)
    given: dict[str, Any] = {
        "grad_emitted": torch.empty(T, N, dtype=x.dtype),
        "grad_v": None,
        "slope": None,
        "grad_x": torch.empty(T, N, dtype=x.dtype),
        "grad_m": None,
        "grad_sum": numbers,
        "grad_threshold": numbers.clone(),
        "grad_v_init": numbers.clone(),
        "psp": True,
        "trace": False,
        "detach_reset": False,
        "surrogate": "atan",
    }
    if_multistep_backward.if_multistep_bwd(
        x=x,
        v_threshold=case.theta,
        v_init=case.v_init,
        bias=bias,
        **{**given, **options},
        T=T,
        sizes=[N],
        x_stride_t=0 if case.static else x.stride(0),
        x_strides=[x.stride(-1)],
        threshold_strides=[case.theta.expand(N).stride(0)],
        v_init_strides=[case.v_init.expand(N).stride(0)],
        bias_stride_t=bias_stride_t,
        bias_strides=[] if bias is None else [int(bias.shape[-1] > 1)],
        hard=case.hard,
        v_reset=0.0,
        tie_fires=case.tie_fires,
        numbers=(1.0, 1.0),
    )


def compile_backward() -> dict[str, Any]:
    """Facts of the backward kernel's variants, by name."""
    if_multistep_backward.if_multistep_bwd_kernel = recorder = Recorder(BACKWARD, 90)
    one, per_neuron = torch.ones(()), torch.ones(4096)
    made = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        flat = Case(torch.zeros(16, 4096, dtype=dtype), one, one)
        steps = torch.zeros(16, 4096)
        of_x_alone = dict.fromkeys(("grad_sum", "grad_threshold", "grad_v_init"))
        calls: dict[str, tuple[Case, dict[str, Any]]] = {
            name: (flat, {"surrogate": name}) for name in ("atan", "sigmoid", "piecewise_linear")
        }
        calls |= {
            "x alone": (flat, {**of_x_alone, "psp": False}),
            "own": (flat, {"surrogate": "given", "slope": steps}),
            "hard": (replace(flat, hard=True), {"surrogate": "sigmoid"}),
            "trace": (flat, {"grad_v": steps, "trace": True}),
            "per neuron": (replace(flat, theta=per_neuron, bias=per_neuron), {}),
            "bias a step": (replace(flat, bias=torch.ones(16, 1)), {"grad_m": steps}),
        }
        # Dtypes differ in how they are read and written, not in what is between.
        few = {"x alone", "sigmoid", "trace"} if dtype != torch.float32 else calls.keys()
        for name, (case, options) in calls.items():
            if name not in few:
                continue
            go_back(case, **options)
            made[f"{str(dtype).removeprefix('torch.')} {name}"] = facts(recorder.compiled)
    return made


def facts(compiled: Any) -> dict[str, Any]:
    """What the tests want to know of a compiled variant."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ptx = compiled.asm["ptx"]
    return {
        "ptx": ptx,
        "ttir": compiled.asm["ttir"],
        # ("ld" or "st", bytes) in the order of the code.
        "accesses": [
            (kind, int(count or 1) * int(bits) // 8) for kind, count, bits in ACCESS.findall(ptx)
        ],
        **{name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)},
    }


def compile_wide(recorder: Recorder) -> Any:
    """The code for more neurons than 32 bits count, which need not be there to compile it."""
    one, sizes, per_channel = torch.ones(()), [4, 8, 2**27], [0, 1, 0]
    if_multistep.if_multistep_fwd(
        *(one, one, one, one, None, one, one),
        T=16,
        sizes=sizes,
        x_stride_t=2**32,
        x_strides=[2**30, 2**27, 1],
        threshold_strides=per_channel,
        v_init_strides=per_channel,
        bias_stride_t=8,
        bias_strides=per_channel,
        count_strides=[],
        hard=False,
        v_reset=0.0,
        signed=False,
        tie_fires=True,
        emit="spikes",
        return_v="last",
    )
    return recorder.compiled


def keys() -> dict[str, str]:
    """What a launch is looked up by, compiled code or not, for several T and N."""
    recorder = Recorder(FORWARD, 90)
    recorder.compiles = False
    if_multistep.if_multistep_fwd_kernel = recorder
    made = {}
    for T, N in [(1, 4096), (2, 4096), (16, 4096), (33, 4096), (16, 80), (16, 1003), (7, 4099)]:
        case = Case(torch.zeros(T, N), torch.ones(()), torch.ones(()))
        for bias in (None, torch.zeros(T, N)):
            if_case.run(replace(case, bias=bias))
            made[f"{T} {N} {'plain' if bias is None else 'biased'}"] = recorder.key
    return made


def main() -> None:
    if_case.DEVICE = "cpu"
    built: dict[str, Any] = {}
    for arch in (80, 90):
        if_multistep.if_multistep_fwd_kernel = recorder = Recorder(FORWARD, arch)
        for name, case in variants().items():
            if arch == 90 or name in OLDER_GPU:
                if_case.run(case)
                built[f"sm_{arch} {name}"] = facts(recorder.compiled)
    built["sm_90 wide"] = facts(compile_wide(recorder))
    json.dump({"variants": built, "backward": compile_backward(), "keys": keys()}, sys.stdout)


if __name__ == "__main__":
    main()
