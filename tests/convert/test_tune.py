"""Corrections in place: in every kind of network they lower its error, or at least do no harm."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import convert
from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate.correct import CORRECTION_NAMES
from spikeconv.convert import SpikingNetwork
from spikeconv.convert import tune as module
from spikeconv.convert.tune import tuning_images
from tests.convert.nets import Net, images, relative_error

BEST = ("weights", "search")


def convolutional(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), activation(), nn.Conv2d(6, 6, 3, stride=2), activation(),
        nn.Conv2d(6, 8, 3), activation(), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (convolutional, (2, 8, 8)),
    "one dimension": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 6, 3), nn.ReLU(), nn.Conv1d(6, 6, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(24, 3),
        ),
        (2, 8),
    ),
    "linear": (
        lambda: nn.Sequential(
            nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)
        ),
        (6,),
    ),
    "tokens": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()),
        (5, 6),
    ),
    "capped": (lambda: convolutional(lambda: nn.Hardtanh(0, 0.4)), (2, 8, 8)),
    "clip": (lambda: convolutional(lambda: Clip(0.5)), (2, 8, 8)),
    "qcfs": (lambda: convolutional(lambda: QCFS(4, 0.5)), (2, 8, 8)),
    "residual": (
        lambda: Net(lambda s, x: s.head((s.c2(h := s.c1(x).relu()) + h).relu())),
        (2, 8, 8),
    ),
}  # fmt: skip


def made(net: nn.Module, x: Tensor, **options: Any) -> SpikingNetwork:
    given = {"threshold": "mse", "corrections": BEST, "T": 4, "progress": False, **options}
    return convert(net, x, **given)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_error_on_what_they_are_fitted_on_shrinks(name: str, signed: bool) -> None:
    """And the ANN is still there, bit for bit, in the network and outside it."""
    make, shape = NETWORKS[name]
    net, x = make(), images(64, *shape)
    before = copy.deepcopy(net.state_dict())
    wanted = net(x)
    corrected = made(net, x, signed=signed)
    plain = made(net, x, corrections=(), signed=signed)
    fitted, first = x[:48], wanted[:48]
    assert relative_error(corrected(fitted), first) <= relative_error(plain(fitted), first)
    assert torch.equal(corrected.analog(x), wanted)
    assert torch.equal(net(x), wanted)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert set(corrected.originals) <= set(corrected.layers) and not plain.originals


@pytest.mark.parametrize("correction", ["bias", "potential", "potential-channel", "step-bias"])
@torch.no_grad()
def test_each_lowers_the_mean_error(correction: str) -> None:
    """Of the outputs, over images, on the images that it was fitted on."""
    net, x = convolutional(), images(64, 2, 8, 8)
    wanted = net(x).mean(0)
    plain = made(net, x, corrections=())(x[:48]).mean(0)
    corrected = made(net, x, corrections=(correction,))(x[:48]).mean(0)
    assert relative_error(corrected, wanted) < relative_error(plain, wanted)


@torch.no_grad()
def test_refitted_layers() -> None:
    """Those that see spikes; the layer of the image is the ANN's own."""
    net, x = convolutional(), images(64, 2, 8, 8)
    snn = made(net, x, corrections=("weights",), T=2)
    assert {"_2", "_7"} <= set(snn.originals) <= {"_2", "_4", "_7"}
    for name, original in snn.originals.items():
        assert torch.equal(original.weight, net[int(name[1:])].weight)
        assert not torch.equal(snn.layers[name].weight, original.weight)
        assert not snn.layers[name].weight.requires_grad


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("correction", CORRECTION_NAMES)
@torch.no_grad()
def test_few_images(correction: str, count: int) -> None:
    net, x = convolutional(), images(count, 2, 8, 8)
    snn = made(net, x, corrections=(correction,))
    assert bool(snn(x).isfinite().all())
    assert made(net, x, corrections=None).report().settings["calibration_images"] == count


@pytest.mark.parametrize("T", [1, 2, 64, 70])
@pytest.mark.parametrize("correction", CORRECTION_NAMES)
@torch.no_grad()
def test_any_number_of_steps(correction: str, T: int) -> None:
    net, x = convolutional(), images(16, 2, 8, 8)
    snn = made(net, x, corrections=(correction,), T=T)
    for steps in (1, T, T + 3):
        assert bool(snn(x, T=steps).isfinite().all())
    torch.testing.assert_close(snn(x, readout="all")[-1], snn(x))


@pytest.mark.parametrize("correction", CORRECTION_NAMES)
@torch.no_grad()
def test_dead_layers(correction: str) -> None:
    """All activations 0, or the whole network: no NaN, no spikes out of nothing."""
    net, x = convolutional(), images(16, 2, 8, 8)
    net[2].weight.zero_()
    net[2].bias.fill_(-1)
    with pytest.warns(UserWarning, match="never active"):
        snn = made(net, x, corrections=(correction,))
    assert bool(snn(x).isfinite().all())
    torch.testing.assert_close(snn(x), net(x), atol=0.3, rtol=0)
    assert all(bool(node.v_init.isfinite().all()) for node in snn.populations().values())


@pytest.mark.parametrize("correction", CORRECTION_NAMES)
@torch.no_grad()
def test_one_neuron_an_image(correction: str) -> None:
    """Its current has no dimension but the batch's."""
    net = Net(lambda s, x: (s.c2(s.c1(x).relu()).mean((1, 2, 3)) + 0.5).relu())
    x = images(16)
    snn = made(net, x, corrections=(correction,))
    assert snn(x).shape == (16,) and bool(snn(x).isfinite().all())
    assert snn(x[:3], readout="all").shape == (4, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@torch.no_grad()
def test_other_dtypes(dtype: torch.dtype) -> None:
    net, x = convolutional().to(dtype), images(160, 2, 8, 8).to(dtype)
    snn = made(net, x, T=2)
    assert snn(x).dtype == dtype
    assert {layer.weight.dtype for layer in snn.originals.values()} == {dtype}
    assert {snn.layers[name].weight.dtype for name in snn.originals} == {dtype}
    plain = made(net, x, T=2, corrections=())
    assert relative_error(snn(x), net(x)) < relative_error(plain(x), net(x))


@torch.no_grad()
def test_the_neurons_are_fitted_to_what_they_get() -> None:
    """A layer's report is that of a network in which the layers before it are corrected already."""
    net, x = convolutional(), images(64, 2, 8, 8)
    plain = made(net, x, corrections=()).report(x)
    found = made(net, x).report(x)
    # The first gets the same current at every step, of which "mse" leaves nothing to find.
    assert found.rows[0].error <= plain.rows[0].error
    for row, before in zip(found.rows[1:], plain.rows[1:], strict=True):
        assert row.error < before.error


@torch.no_grad()
def test_images_give_way_to_memory_and_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer where an image's spikes and activations, or all its steps, would be too much; not 0.

    Two populations' spikes live at a time, the larger two of 384, 54 and 8 neurons, at two bits a
    step; of the largest there are seven values besides.
    """
    net, x = convolutional(), images(32, 2, 8, 8)
    program = made(net, x).program
    assert (program.widest, tuning_images(program, 4)) == (384, 512)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_VALUES", 10 * (7 * 384 + (384 + 54)))
        assert [tuning_images(program, T) for T in (1, 16, 64, 10**6)] == [11, 10, 7, 1]
        assert bool(made(net, x, T=16)(x).isfinite().all())
    monkeypatch.setattr(module, "_WORK", 384 * 4 * 10)
    assert [tuning_images(program, T) for T in (1, 4, 8, 1000)] == [40, 10, 5, 1]
    assert bool(made(net, x, T=8)(x).isfinite().all())


def test_tuning_leaves_what_it_is_given() -> None:
    """The populations of one method are not those of the next."""
    net, x = convolutional(), images(32, 2, 8, 8)
    plain, again = (made(net, x, corrections=()) for _ in range(2))
    made(net, x)
    for a, b in zip(plain.populations().values(), again.populations().values(), strict=True):
        assert torch.equal(a.v_threshold, b.v_threshold) and a.step_bias is None


def test_progress_is_shown_of_layers(capfd: pytest.CaptureFixture[str]) -> None:
    """Two populations and the head; not where none is wanted."""
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()), images(8, 3)
    net.append(nn.Linear(4, 2))
    made(net, x, progress=True)
    shown = capfd.readouterr().err
    assert "fitting:" in shown and "/3 " in shown
    made(net, x)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("name", ["convolutions", "residual", "tokens"])
@pytest.mark.parametrize("size", [1, 7])
@torch.no_grad()
def test_parts_make_no_difference(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the images are divided: the same weights and parameters, up to rounding."""
    make, shape = NETWORKS[name]
    net, x = make().double(), images(24, *shape).double()
    whole = made(net, x)
    monkeypatch.setattr(module, "images_of_all_steps", lambda *_: size)
    divided = made(net, x)
    assert whole.originals.keys() == divided.originals.keys()
    torch.testing.assert_close(divided.state_dict(), whole.state_dict())


@pytest.mark.parametrize(("corrections", "wanted"), [(("rts",), 1), (("rts", "bias"), 32)])
def test_what_looks_at_no_image_runs_one(
    corrections: tuple[str, ...], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Counted(module.LayerwiseRun):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            seen.append(self.batch)

    monkeypatch.setattr(module, "LayerwiseRun", Counted)
    make, shape = NETWORKS["convolutions"]
    x = images(32, *shape)
    snn = convert(make(), x, T=4, method="opi", corrections=corrections, progress=False)
    assert sum(seen) == wanted
    node = next(iter(snn.neurons.values()))
    if wanted == 1:
        assert torch.equal(node.bias, node.v_threshold / 8)


def test_a_search_is_not_for_one_threshold_a_layer() -> None:
    options: dict[str, Any] = {"T": 4, "granularity": "layer", "progress": False}
    net, x = convolutional(), images(32, 2, 8, 8)
    with pytest.warns(UserWarning, match="granularity='layer' is of the thresholds that .*search"):
        convert(net, x, corrections=("search",), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snn = convert(net, x, **options)
    assert all(node.v_threshold.numel() == 1 for node in snn.populations().values())


@pytest.mark.parametrize(("timing", "rows"), (({"delay": 2}, 8), ({"srp": 2, "cos": 1}, 5)))
def test_corrections_beside_steps_before_the_readout(timing: dict[str, int], rows: int) -> None:
    """They are for the steps of the run that is read, its delay included; nobody overlooks it."""
    net, x = convolutional(), images(32, 2, 8, 8)
    options: dict[str, Any] = {"T": 8, "method": "opi", "progress": False, **timing}
    with pytest.warns(UserWarning, match="fitted as if srp and cos had changed nothing"):
        snn = convert(net, x, corrections=("step-bias",), **options)
    for node in snn.populations().values():
        assert node.step_bias is not None and len(node.step_bias) == rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(net, x, **options)
        convert(net, x, corrections=("rts",), v_init="zero", **options)
        convert(net, x, **{**options, "method": "best"})
