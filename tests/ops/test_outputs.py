"""What comes out: shapes, dtypes and memory layouts, and that only what was asked for is made."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from tests.helpers import runnable
from tests.ops.cases import DTYPES, LAYOUTS, SHAPE, currents


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("signed", [False, True])
def test_dtypes_and_shapes(signed: bool, dtype: torch.dtype, backend: str) -> None:
    x = currents(3, 2, 5, dtype=dtype)
    small = torch.int8 if signed else torch.uint8
    wanted = {
        "spikes": (dtype, [3, 2, 5]),
        "psp": (dtype, [3, 2, 5]),
        "uint8": (small, [3, 2, 5]),
        "words": (torch.int32, [2, 5]),
        "count": (torch.int32, [2, 5]),
    }
    for emit, (emitted_dtype, shape) in wanted.items():
        if signed and emit == "words":
            continue
        for given, T in ((x, None), (x[0], 3)):
            emitted, v = if_multistep(given, T=T, emit=emit, signed=signed, backend=backend)
            assert (emitted.dtype, list(emitted.shape)) == (emitted_dtype, shape)
            assert v is not None
            assert (v.dtype, list(v.shape)) == (torch.float32, [2, 5])
            _, trace = if_multistep(
                given, T=T, emit=emit, signed=signed, return_v="all", backend=backend
            )
            assert trace is not None
            assert (trace.dtype, list(trace.shape)) == (torch.float32, [3, 2, 5])


def _outputs(x: Tensor, backend: str, T: int | None = None) -> list[tuple[Tensor, bool]]:
    """Every kind of output, and whether it has time as its first dimension."""
    outputs = []
    for emit, return_v in (("spikes", "all"), ("uint8", "last"), ("words", "last")):
        emitted, v = if_multistep(x, T=T, emit=emit, return_v=return_v, backend=backend)
        assert v is not None
        outputs += [(emitted, emit != "words"), (v, return_v == "all")]
    return outputs


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "channels_last"])
def test_outputs_are_contiguous(layout: str, backend: str) -> None:
    for shape in ((3,), (3, 4), (3, 4, 5), SHAPE):
        for output, _ in _outputs(LAYOUTS[layout](currents(*shape)), backend):
            assert output.is_contiguous()


@pytest.mark.parametrize("backend", runnable())
def test_channels_last_is_kept_in_every_step(backend: str) -> None:
    folded = currents(3 * 2, 5, 3, 7).contiguous(memory_format=torch.channels_last)
    x = folded.view(3, 2, 5, 3, 7)
    for given, T in ((x, None), (x[0], 3)):
        for output, timed in _outputs(given, backend, T):
            for step in output if timed else [output]:
                assert step.is_contiguous(memory_format=torch.channels_last)
            if timed:  # dense, so that the next layer folds time into the batch by a view
                folded_output = output.flatten(0, 1)
                assert folded_output.data_ptr() == output.data_ptr()
                assert folded_output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend", runnable())
def test_channels_last_3d_is_kept_in_every_step(backend: str) -> None:
    volume = currents(2, 5, 3, 4, 2).contiguous(memory_format=torch.channels_last_3d)
    for output, timed in _outputs(volume, backend, T=3):
        for step in output if timed else [output]:
            assert step.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("emit", ["spikes", "psp", "uint8", "words", "count"])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3, 3), (2, 5, 0, 7)], ids=str)
def test_no_neurons(shape: tuple[int, ...], emit: str, backend: str) -> None:
    timed = [] if emit in ("words", "count") else [3]
    for given, T in ((torch.empty(3, *shape), None), (torch.empty(*shape), 3)):
        emitted, v = if_multistep(given, T=T, emit=emit, backend=backend)
        assert list(emitted.shape) == [*timed, *shape]
        assert v is not None
        assert list(v.shape) == [*shape]
        _, trace = if_multistep(given, T=T, emit=emit, return_v="all", backend=backend)
        assert trace is not None
        assert list(trace.shape) == [3, *shape]


@pytest.mark.parametrize("backend", runnable())
def test_no_neurons_with_parameters_for_each(backend: str) -> None:
    spikes, v = if_multistep(torch.empty(3, 2, 0), torch.ones(2, 0), torch.ones(1), backend=backend)
    assert list(spikes.shape) == [3, 2, 0]
    assert v is not None
    assert list(v.shape) == [2, 0]


@pytest.mark.parametrize("backend", runnable())
def test_outputs_are_new_memory(backend: str) -> None:
    x = currents(1, 6)
    v_init = x[0]
    emitted, v = if_multistep(x, 100.0, v_init, backend=backend)
    assert v is not None
    pointers = {t.untyped_storage().data_ptr() for t in (x, emitted, v)}
    assert len(pointers) == 3


@pytest.mark.parametrize("backend", runnable())
def test_v_is_none_unless_asked_for(backend: str) -> None:
    assert if_multistep(currents(3, 4), return_v=None, backend=backend)[1] is None
