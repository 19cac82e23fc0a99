"""A whole file, the ways to forge one, and what opening such a one must do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import spikeconv
from spikeconv.convert import SpikingNetwork
from spikeconv.files.file import dumped
from spikeconv.network import simulation
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted

Json = dict[str, Any]
# What changes a description and its tensors, and what opening the file must say then.
Forgery = tuple[Callable[[Json, dict[str, Tensor]], Any], str]


@pytest.fixture(scope="module")
def snn() -> SpikingNetwork:
    torch.manual_seed(0)
    return converted(NETWORKS["branches"](), T=4, corrections=("step-bias", "weights"), delay=1)


@pytest.fixture(scope="module")
def whole(snn: SpikingNetwork, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "snn.safetensors"
    snn.save(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A call of the network, or of anything in its program, fails the test."""

    def run(*args: Any) -> None:
        raise AssertionError("opening a file has run a step of it")

    monkeypatch.setattr(simulation, "run_step", run)
    yield
    monkeypatch.undo()


def content(whole: bytes, folder: Path) -> tuple[Json, dict[str, Tensor]]:
    """The description and the tensors of a file."""
    path = folder / "whole.safetensors"
    path.write_bytes(whole)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["spikeconv.network"])["network"], tensors


def forged(description: Any, tensors: dict[str, Tensor], folder: Path) -> Path:
    """A file of this content with the right digest."""
    path = folder / "forged.safetensors"
    save_file(tensors, path, {"spikeconv.network": dumped(description, tensors)})
    return path


def refused(path: Path) -> str:
    """What opening the file says, in less than two seconds."""
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        spikeconv.load(path)
    assert time.perf_counter() - start < 2
    assert type(caught.value) is ValueError
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and len(text) < 1000
    return text


def assert_refused(forgery: Forgery, whole: bytes, folder: Path) -> None:
    """A whole file that was forged so, with the right digest, is refused in the right words."""
    forge, says = forgery
    description, tensors = content(whole, folder)
    forge(description, tensors)
    assert says in refused(forged(description, tensors, folder))
