"""torch.export and torch.compile take a whole network, for any number of images, and keep its bits.

Weights of sixteenths and thresholds of eighths have exact sums in float32, so a compiler that adds
in another order must still give every bit; a spike that were lost or added would show.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from spikeconv.convert import SpikingNetwork
from spikeconv.network.structure import map_tensors
from tests.convert.bodies import NETWORKS
from tests.convert.nets import assert_same_output, converted, dyadic, images
from tests.convert.test_together import EVERYTHING, TwoImages, pairs
from tests.fixtures import nothing_compiled as nothing_compiled

# torch's own, from the depths of its compiler and of its reader of files.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning"),
]


def through_a_file(snn: SpikingNetwork, x: tuple[Tensor, ...], **options: Any) -> Any:
    """The exported program, written and read again, as a module."""
    file = io.BytesIO()
    torch.export.save(torch.export.export(snn, x, **options), file)
    file.seek(0)
    return torch.export.load(file).module()


def by_batch(*names: str) -> dict[str, Any]:
    """Dynamic shapes for inputs of these names: any number of images, by its name."""
    batch = torch.export.Dim("batch")
    return {name: {0: batch} for name in names}


@pytest.mark.parametrize("name", NETWORKS)
def test_export_for_any_number_of_images(name: str) -> None:
    """With the weights and biases that corrections leave, which are no round numbers."""
    options = {"signed": True, "corrections": EVERYTHING, "T": 4}
    snn = converted(NETWORKS[name](), **options)
    exported = through_a_file(snn, (images(3),), dynamic_shapes=by_batch("x"))
    for count in (1, 3, 8):
        x = images(count)
        assert_same_output(exported(x), snn(x))


@pytest.mark.parametrize("timing", ({"delay": 2}, {"srp": 1, "cos": 2}), ids=str)
def test_export_of_every_step(timing: dict[str, int]) -> None:
    """Logits after each step, of steps of which some come before the readout."""
    snn = converted(NETWORKS["branches"](), T=6, **timing)
    asked = {"kwargs": {"readout": "all"}}
    shapes = by_batch("x") | {"readout": None}
    exported = through_a_file(snn, (images(3),), dynamic_shapes=shapes, **asked)
    for count in (2, 5):
        x = images(count)
        assert_same_output(exported(x, readout="all"), snn(x, readout="all"))


def test_export_for_one_number_of_images() -> None:
    snn, x = converted(NETWORKS["residual"](), T=4), images(5)
    assert_same_output(through_a_file(snn, (x,))(x), snn(x))


def test_export_of_several_inputs() -> None:
    snn, x = converted(TwoImages(), [pairs(16)], T=4), pairs(3)
    shapes = {"x": {0: torch.export.Dim("batch")}, "more": ({0: torch.export.Dim("batch")},)}
    exported = through_a_file(snn, x, dynamic_shapes=shapes)
    for count in (2, 5):
        x = pairs(count)
        assert_same_output(exported(*x), snn(*x))


def test_few_graphs_for_many_numbers_of_images() -> None:
    snn = dyadic(NETWORKS["concat"](), T=4, signed=True)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(snn, backend=counter, fullgraph=True)
    for count in (4, 3, 7, 9, 2, 12):
        x = images(count)
        assert_same_output(compiled(x), snn(x))
    assert counter.frame_count <= 3


# Both only save time: which vector instructions there are is found out by running programs.
@torch._inductor.config.patch({"cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False})
def test_inductor_gives_the_same_spikes() -> None:
    """Among the outputs are a population's mean spikes, so every spike of it counts."""
    snn = dyadic(NETWORKS["branches"](), T=4, signed=True)
    compiled = torch.compile(snn, backend="inductor", fullgraph=True)
    x = images(3)
    got, wanted = compiled(x), snn(x)
    assert_same_output(got, wanted)
    theta = next(reversed(snn.populations().values())).v_threshold
    counts = map_tensors(lambda y: y / theta * 4, got[1]["y"])
    assert torch.equal(counts, counts.round()) and len(counts.unique()) > 3
