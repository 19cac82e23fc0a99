"""The spiking network as an object: what a call takes, what it gives, what it keeps."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.evaluate import evaluate
from spikeconv.network.structure import tensors
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, assert_same_output, converted, images, relative_error, settled


@pytest.fixture
def snn() -> SpikingNetwork:
    return converted(NETWORKS["residual"](), T=4)


@pytest.mark.parametrize(
    ("x", "error", "says"),
    (
        (None, TypeError, "a floating-point tensor, got NoneType"),
        ([[1.0]], TypeError, "a floating-point tensor, got list"),
        (torch.zeros(1, 2, 8, 8).byte(), TypeError, r"a floating-point tensor, got torch\.uint8"),
        (torch.zeros(1, 2, 8, 8).double(), TypeError, r"torch\.float32 .*, got torch\.float64"),
        (torch.zeros(1, 2, 8, 8).to_sparse(), TypeError, r"dense, got .*sparse.*x\.to_dense"),
        (torch.zeros(1, 2, 8, 8, device="meta"), ValueError, "on cpu .*, got meta"),
        (torch.zeros(2, 8, 8), ValueError, r"a batch like \[B, 2, 8, 8\], got shape \[2, 8, 8\]"),
        (torch.zeros(1, 3, 8, 8), ValueError, r"a batch like .*, got shape \[1, 3, 8, 8\]"),
        (torch.zeros(()), ValueError, r"a batch like .*, got shape \[\]"),
    ),
)
def test_input_errors(snn: SpikingNetwork, x: Any, error: type[Exception], says: str) -> None:
    for call in (snn, snn.analog):
        with pytest.raises(error, match=f"SpikingNetwork: x must be {says}"):
            call(x)


@pytest.mark.parametrize(
    ("T", "error", "says"),
    (
        (0, ValueError, "T must be at least 1, got 0"),
        (-3, ValueError, "T must be at least 1, got -3"),
        (1.0, TypeError, "T must be an integer, got float"),
        (True, TypeError, "T must be an integer, got bool"),
        ("4", TypeError, "T must be an integer, got str"),
        (2**24 + 1, ValueError, "T must be at most 16777216, .* got 16777217"),
        (10**400, ValueError, "T must be at most 16777216"),
    ),
)
def test_step_errors(snn: SpikingNetwork, T: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"SpikingNetwork: {says}"):
        snn(images(1), T=T)
    with pytest.raises(error, match=f"convert: {says}"):
        converted(NETWORKS["plain"](), T=T)


def test_numbers_of_numpy_do_as_numbers_of_python(tmp_path: Path) -> None:
    """An array of steps to loop over is what a plot begins with."""
    ann = NETWORKS["plain"]()
    ours: dict[str, Any] = {"T": 6, "v_init": 0.25, "delay": 1, "srp": 2, "seed": 3}
    theirs = {name: np.asarray(value)[()] for name, value in ours.items()}
    assert not isinstance(theirs["T"], int)
    theirs["v_init"] = np.float32(0.25)
    calibration = images(32)
    wanted, found = converted(ann, calibration, **ours), converted(ann, calibration, **theirs)
    assert found.report().settings == wanted.report().settings
    found.save(tmp_path / "found.safetensors")
    x = images(2)
    for T in np.arange(4, 8):
        assert torch.equal(found(x, T=T), wanted(x, T=int(T)))
    assert evaluate(ann, found, [(x, torch.zeros(2))], np.int64(5), progress=False).T == 5


def test_readout_errors(snn: SpikingNetwork) -> None:
    naive = NaiveSimulation(snn)
    for network in (snn, naive):
        with pytest.raises(ValueError, match=r"readout must be one of .*'mean', 'all'.* got 'sum'"):
            network(images(1), readout="sum")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    (
        ({"signed": 1}, TypeError, "signed must be True or False, got 1"),
        ({"threshold": "min"}, ValueError, "threshold must be one of 'max', 'percentile', 'mse'"),
        ({"threshold": ["max"]}, ValueError, r"threshold must be one of .*, got \['max'\]"),
        ({"corrections": 5}, TypeError, "corrections must be a sequence of names, got 5"),
        ({"granularity": "neuron"}, ValueError, "granularity must be one of 'layer', 'channel'"),
        ({"percentile": 0}, ValueError, "percentile must be above 0 and at most 100, got 0"),
        ({"percentile": 101.0}, ValueError, "got 101.0"),
        ({"percentile": float("nan")}, ValueError, "got nan"),
        ({"percentile": "99"}, TypeError, "percentile must be a number, got '99'"),
        ({"v_init": "quarter"}, ValueError, "v_init must be 'zero', .* or a finite number"),
        ({"seed": -1}, ValueError, "seed must be a whole number from 0 to 2.63 - 1, got -1"),
        ({"seed": 0.5}, ValueError, "seed must be a whole number from 0 to 2.63 - 1, got 0.5"),
        ({"v_init": float("inf")}, ValueError, "got inf"),
        ({"v_init": True}, ValueError, "got True"),
        ({"v_init": None}, ValueError, "got None"),
    ),
)
def test_option_errors(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"convert: .*{says}"):
        converted(NETWORKS["plain"](), **options)


def test_steps(snn: SpikingNetwork) -> None:
    """T of the conversion is the default; a call may say another; `snn.T` may be set."""
    x = images(3)
    assert snn.T == 4
    assert torch.equal(snn(x), snn(x, T=4))
    assert snn(x, readout="all").shape == (4, 3, 3)
    assert snn(x, T=6, readout="all").shape == (6, 3, 3)
    six = snn(x, T=6)
    assert not torch.equal(snn(x), six)
    snn.T = 6
    assert torch.equal(snn(x), six)
    assert "T=6" in repr(snn)


def test_empty_batch() -> None:
    for make in NETWORKS.values():
        net = make()
        snn = converted(net, T=3)
        assert_same_output(snn(images(0)), net(images(0)))
        running = list(tensors(snn(images(0), readout="all")))
        shapes = [(3, *y.shape) for y in tensors(net(images(0)))]
        assert [y.shape for y in running] == shapes


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), -float("inf")))
@pytest.mark.parametrize("readout", ("mean", "all"))
def test_broken_image(bad: float, readout: str) -> None:
    """One bad pixel makes all outputs of its image NaN, and of no other."""
    images_first = 0 if readout == "mean" else 1
    for name in ("residual", "branches", "pool in time"):
        snn, x = converted(NETWORKS[name](), T=4), images(4)
        good = list(tensors(snn(x, readout=readout)))
        x[2, 1, 3, 5] = bad
        for y, wanted in zip(tensors(snn(x, readout=readout)), good, strict=True):
            y, wanted = y.movedim(images_first, 0), wanted.movedim(images_first, 0)
            assert y[2].isnan().all()
            torch.testing.assert_close(y[[0, 1, 3]], wanted[[0, 1, 3]])


def test_other_image_sizes_than_in_calibration() -> None:
    """Where the network allows it, so does its spiking form, with thresholds per channel."""
    net = NETWORKS["concat"]()
    snn = converted(net)
    for shape in ((2, 16, 16), (2, 5, 11)):
        x = images(4, *shape)
        torch.testing.assert_close(snn.analog(x), net(x))
        assert relative_error(snn(x, T=256), net(x)) < 0.05


def test_a_size_with_which_a_layer_fails() -> None:
    """The input and the wanted size are named beside what torch says of the layer."""
    snn = converted(nn.Sequential(nn.Flatten(), nn.Linear(8, 8), nn.ReLU()), torch.randn(4, 2, 4))
    says = r"SpikingNetwork: x must be like \[B, 2, 4\], got shape \[4, 2, 5\], .*[14]x10 and 8x8"
    run, fused = snn.stream(), snn.fuse()
    calls = (snn, snn.analog, lambda x: snn.exit_early(x, 0.5), run.step)
    for call in (*calls, fused, lambda x: fused.exit_early(x, 0.5)):
        with pytest.raises(ValueError, match=says):
            call(torch.randn(4, 2, 5))
    run.reset()
    assert run.step(torch.randn(4, 2, 4)).shape == (4, 8)


def test_no_state_between_calls(snn: SpikingNetwork) -> None:
    """A call, with whatever happened before it, is a function of its input."""
    x = images(3)
    first = snn(x)
    snn(images(5), T=7, readout="all")
    with pytest.raises(ValueError, match="readout"):
        snn(x, readout="none")
    assert torch.equal(snn(x), first)
    buffers = {name: value.clone() for name, value in snn.state_dict().items()}
    snn(x, T=9)
    assert all(torch.equal(value, buffers[name]) for name, value in snn.state_dict().items())


def test_the_batch_does_not_matter(snn: SpikingNetwork) -> None:
    x = images(6)
    torch.testing.assert_close(torch.cat([snn(x[:1]), snn(x[1:])]), snn(x))


def test_stays_in_evaluation_mode() -> None:
    """Batch norm that could not be folded must keep its statistics."""
    net = settled(nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()))
    snn, x = converted(net), images()
    before = snn(x)
    assert snn.train() is snn
    assert not any(module.training for module in snn.modules())
    assert torch.equal(snn(x), before)


def test_needs_no_gradients(snn: SpikingNetwork) -> None:
    assert not any(parameter.requires_grad for parameter in snn.parameters())
    assert not snn(images(1)).requires_grad


@pytest.mark.parametrize("name", NETWORKS)
def test_copies(name: str) -> None:
    """deepcopy, and torch.save of the module, keep everything, the report too."""
    snn, x = converted(NETWORKS[name](), T=3, signed=True), images(2)
    file = io.BytesIO()
    torch.save(snn, file)
    file.seek(0)
    for other in (copy.deepcopy(snn), torch.load(file, weights_only=False)):
        assert_same_output(other(x), snn(x))
        assert_same_output(other(x, readout="all"), snn(x, readout="all"))
        assert other.report() == snn.report()
        theirs = {value.data_ptr() for value in other.state_dict().values()}
        assert theirs.isdisjoint(value.data_ptr() for value in snn.state_dict().values())


def test_state_dict() -> None:
    """Weights, thresholds and initial potentials of one network make another of its kind it."""
    x = images(4)
    one, other = (converted(NETWORKS["scaled"](), images(16) * scale) for scale in (1, 5))
    assert not torch.equal(one(x), other(x))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16, torch.float64))
def test_dtypes(dtype: torch.dtype) -> None:
    """The network's dtype is kept; thresholds and potentials stay float32 or wider."""
    norm = settled(nn.BatchNorm2d(4))
    net = Net(lambda s, x: s.head(F.relu(s.n(s.c2(F.max_pool2d(F.relu(s.c1(x)), 2))))), n=norm)
    x = images(16).to(dtype)
    net = net.to(dtype).eval()
    snn = converted(net, images(32).double())
    assert snn(x).dtype == dtype
    assert all(node.v_threshold.dtype == torch.float32 for node in snn.populations().values())
    with torch.no_grad():
        wanted = net(x)
    assert relative_error(snn.analog(x), wanted) < 4 * torch.finfo(dtype).eps
    assert relative_error(snn(x, T=256), wanted) < 0.02


def test_under_autocast() -> None:
    """Layers run in bfloat16 then, and so does what they read."""
    snn, x = converted(NETWORKS["residual"](), T=64), images(4)
    with torch.autocast("cpu", torch.bfloat16):
        out = snn(x)
    assert out.dtype == torch.bfloat16
    assert relative_error(out, snn(x)) < 0.05


@pytest.mark.parametrize("name", ("residual", "branches"))
def test_compiles_and_exports(name: str) -> None:
    """As one graph without breaks: what is traced holds no state either."""
    snn, x = converted(NETWORKS[name](), T=3), images(2)
    compiled = torch.compile(snn, backend="eager", fullgraph=True)
    assert_same_output(compiled(x), snn(x))
    assert_same_output(torch.export.export(snn, (x,)).module()(x), snn(x))


def test_analog_observes_every_neuron(snn: SpikingNetwork) -> None:
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    snn.analog(images(2), lambda name, before, after: seen.update({name: (before, after)}))
    assert list(seen) == list(snn.neurons)
    for before, after in seen.values():
        assert torch.equal(before.clamp(min=0), after)


def test_on_meta_it_gives_shapes_as_other_modules_do(snn: SpikingNetwork) -> None:
    x = images(2)
    wanted = snn(x, readout="all").shape
    assert snn.to("meta")(x.to("meta"), readout="all").shape == wanted
