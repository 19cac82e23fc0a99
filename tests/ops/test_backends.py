"""Which backend a call takes: the one asked for or an error, else the best that can run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from spikeconv import backends, if_multistep
from spikeconv.ops.backends import resolve
from tests.helpers import runnable

X = torch.ones(3, 4)
NAMES = ["reference", "cpp", "triton", "cuda"]


@pytest.fixture(autouse=True)
def _no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKECONV_BACKEND", raising=False)


def test_the_four_backends() -> None:
    assert list(backends()) == NAMES
    assert backends()["reference"] is None


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_runs_or_says_why_not(name: str) -> None:
    if name in runnable():
        assert backends()[name] is None
        spikes, v = if_multistep(X, 0.75, backend=name)
        assert spikes.sum().item() == 12
        assert v is not None
        assert v.tolist() == [0.75] * 4
        return
    with pytest.raises(ValueError, match=rf"backend '{name}' cannot run here: \w+ .+"):
        if_multistep(X, backend=name)


def test_reasons_are_sentences() -> None:
    for name, reason in backends().items():
        assert reason is None or len(reason.split()) > 3, name


def test_cuda_backends_do_not_take_cpu_tensors() -> None:
    with pytest.raises(ValueError, match="'cuda' cannot run here: it runs on CUDA tensors only"):
        if_multistep(X, backend="cuda")


def test_the_choice_on_a_cpu() -> None:
    wanted = "cpp" if "cpp" in runnable() else "reference"
    assert resolve(None, X).name == wanted
    assert resolve(None, X.to(torch.bfloat16)).name == wanted
    assert resolve(None, X.to(torch.float64)).name == "reference"


@pytest.mark.parametrize("name", [name for name in runnable() if name != "reference"])
def test_float64_is_for_the_reference(name: str) -> None:
    with pytest.raises(TypeError, match=f"backend '{name}' takes float32.*float64.*reference"):
        if_multistep(X.to(torch.float64), backend=name)
    assert if_multistep(X.to(torch.float64), backend="reference")[0].dtype == torch.float64


def test_the_variable_stands_in_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in runnable():
        monkeypatch.setenv("SPIKECONV_BACKEND", name)
        assert resolve(None, X).name == name
        assert resolve("reference", X).name == "reference"
    monkeypatch.setenv("SPIKECONV_BACKEND", "")
    assert resolve(None, X.to(torch.float64)).name == "reference"


def test_a_wrong_variable_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKECONV_BACKEND", "opencl")
    with pytest.raises(ValueError, match=r"SPIKECONV_BACKEND.* must be one of .*got 'opencl'"):
        if_multistep(X)
    monkeypatch.setenv("SPIKECONV_BACKEND", "cuda")
    with pytest.raises(ValueError, match=r"SPIKECONV_BACKEND.*'cuda' cannot run here"):
        if_multistep(X)
    assert if_multistep(X, backend="reference")[0].sum().item() == 12


def test_an_unknown_name_is_an_error_where_nothing_runs_yet() -> None:
    x = torch.empty(3, 4, device="meta")
    with pytest.raises(ValueError, match="backend must be one of"):
        if_multistep(x, backend="opencl")
    spikes, v = if_multistep(x)
    assert (spikes.device.type, list(spikes.shape)) == ("meta", [3, 4])
    assert v is not None
    assert list(v.shape) == [4]


ONLY_REFERENCE = """
import sys
sys.modules["triton"] = None
sys.modules["spikeconv._C"] = None
import torch
from spikeconv import backends, if_multistep
reasons = backends()
assert reasons["reference"] is None, reasons
assert "extension is not installed" in reasons["cpp"], reasons
assert "extension is not installed" in reasons["cuda"], reasons
try:
    if_multistep(torch.ones(3, 4), backend="triton")
except ValueError as error:
    assert "triton cannot be imported" in str(error), error
print(int(if_multistep(torch.ones(3, 4))[0].sum()))
"""


def test_without_triton_and_extension_the_reference_is_left() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # so that it is the import that fails
    done = subprocess.run(
        [sys.executable, "-c", ONLY_REFERENCE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("12", "")
