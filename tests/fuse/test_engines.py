"""Which engine runs a network: the one asked for, else the best of the device."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
import torch

from spikeconv.calibrate.inputs import batch_of
from spikeconv.fuse import engines
from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.engine import Engine, IntegerProgram
from spikeconv.fuse.engines import choose_engine, make_engine
from spikeconv.fuse.form import PRECISIONS
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops.backends import _BACKENDS
from tests.fuse.nets import NETS, exact, images, shape_of


@cache
def program() -> IntegerProgram:
    integers = exact("strided").fuse().integers
    assert integers is not None
    return integers.plan(5).program


def engine_of(backend: str | None, device: str = "cpu") -> Engine:
    return make_engine(choose_engine(backend, torch.device(device)), program(), [])


def test_the_best_of_the_device_is_taken() -> None:
    assert isinstance(engine_of(None), CpuEngine)
    assert isinstance(engine_of("reference"), ReferenceEngine)
    assert isinstance(engine_of("cpp"), CpuEngine)


def test_the_environment_stands_in_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    program()
    monkeypatch.setenv("SPIKECONV_BACKEND", "reference")
    assert isinstance(engine_of(None), ReferenceEngine)
    assert isinstance(engine_of("cpp"), CpuEngine)
    monkeypatch.setenv("SPIKECONV_BACKEND", "cuda")  # of neurons: no engine has that name
    with pytest.raises(ValueError, match=r"SPIKECONV_BACKEND\) 'cuda' cannot run here"):
        engine_of(None)
    assert isinstance(engine_of("cpp"), CpuEngine)
    monkeypatch.setitem(_BACKENDS, "cuda", _BACKENDS["reference"])  # as on a GPU
    assert isinstance(engine_of(None), CpuEngine)


@torch.no_grad()
def test_the_environment_is_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, x = exact("strided").fuse(), batch_of([images(shape_of("strided"), 2)])
    monkeypatch.delenv("SPIKECONV_BACKEND", raising=False)
    assert fused.integers is not None
    assert isinstance(fused.integers.for_run(5, x)[1], CpuEngine)
    monkeypatch.setenv("SPIKECONV_BACKEND", "reference")
    assert isinstance(fused.integers.for_run(5, x)[1], ReferenceEngine)
    monkeypatch.setenv("SPIKECONV_BACKEND", "refrence")
    with pytest.raises(ValueError, match=r"SPIKECONV_BACKEND\) must be one of .* got 'refrence'"):
        fused(images(shape_of("strided"), 2))


def test_an_engine_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'cpp' cannot run here: it runs on CPU tensors only"):
        engine_of("cpp", "cuda")
    with pytest.raises(ValueError, match=r"backend must be one of .*'reference'.* got 'fast'"):
        exact("strided").fuse(backend="fast")
    kind = engines._Kind(CpuEngine, lambda device_type: "the extension is not installed")
    monkeypatch.setitem(engines._ENGINES, "cpp", kind)
    monkeypatch.delitem(engines._ENGINES, "triton")  # which its interpreter lets run here
    engines._warn_of_reference.cache_clear()
    with pytest.warns(UserWarning, match="many times slower.* cpp: the extension is not installed"):
        assert isinstance(engine_of(None), ReferenceEngine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        assert isinstance(engine_of(None), ReferenceEngine)


@torch.no_grad()
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETS)
def test_all_give_the_same_bits(name: str, precision: str) -> None:
    snn = exact(name, signed=True, precision=precision)
    x = images(shape_of(name), 3)
    wanted = snn.fuse(precision, backend="reference")
    found = snn.fuse(precision)
    assert precision in found.report().paths.values()
    for T in (1, 5, 33):
        assert torch.equal(found(x, T=T, readout="all"), wanted(x, T=T, readout="all"))
        assert torch.equal(found(x, T=T), wanted(x, T=T))


@torch.no_grad()
@pytest.mark.parametrize("signed", [False, True], ids=["binary", "signed"])
def test_networks_in_triton(signed: bool) -> None:
    # In its interpreter where there is no GPU, which is slow: one small network with everything.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    snn = exact("residual", signed=signed).to(device)
    x = images((3, 6, 5), 2).to(device)
    wanted, found = (snn.fuse(backend=name) for name in ("reference", "triton"))
    assert torch.equal(found(x, T=3, readout="all"), wanted(x, T=3, readout="all"))
    assert torch.equal(found(x, T=35), wanted(x, T=35))  # in two chunks


def test_the_definition_follows_spikes_to_their_device() -> None:
    # A program stays on the CPU, wherever the network is that it was made of.
    made = program()
    engine = ReferenceEngine(made)
    wanted = {"want_spikes": True, "want_count": True, "want_state": True}
    assert made.layers
    for layer in made.layers.values():
        spikes = {
            name: torch.zeros(3, 2, *made.sources[name].shape, dtype=torch.int8, device="meta")
            for name in layer.sources()
        }
        fired = engine.run_layer(layer, spikes, None, **wanted)
        assert fired.spikes.shape == (3, 2, *layer.shape)
        assert fired.state is not None
        assert {fired.spikes.device.type, fired.state.v.device.type} == {"meta"}
