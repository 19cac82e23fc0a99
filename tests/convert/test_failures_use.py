"""Where other converters fail: a test for each row of the table on forwards, data and use.

Rows on data have more tests in tests/calibrate, those on the network as an object in
test_network.py.
"""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv.calibrate import ChannelHistogram, thresholds
from spikeconv.convert import SpikingNetwork
from tests.convert.nets import Net, check, converted, images, relative_error
from tests.convert.small_resnet import small_resnet


@pytest.mark.parametrize(
    "body",
    (
        lambda s, x: s.head(F.relu(s.c1(x.unsqueeze(0) if x.dim() == 3 else x))),
        lambda s, x: s.head(F.relu(s.c1(x)) if x.shape[0] > 1 else torch.relu(s.c1(x))),
    ),
    ids=("dim() == 3", "shape[0] > 1"),
)
def test_rows_flow_that_depends_on_shapes(body: Any) -> None:
    """More, and what no shape decides: test_shape_flow.py."""
    check(Net(body), neurons=1)


def test_row_two_inputs_and_outputs() -> None:
    """Tuples and dicts on both sides. More: test_several_inputs.py."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor, other: Tensor) -> Any:
            h, g = F.relu(self.a(x)), F.relu(self.b(other))
            return {"sum": h + g, "both": (h, g)}

    net, x, y = Two(), images(16), images(16, 3, 8, 8)
    snn = spikeconv.convert(net, [(x, y)], threshold="max", progress=False)
    for out in (snn(x, y, T=256), snn(x=x, other=y, T=256)):
        with torch.no_grad():
            assert relative_error(out, net(x, y)) < 0.02


# Calibration data


@pytest.mark.parametrize("granularity", ("layer", "channel"))
def test_row_dead_relu(granularity: str) -> None:
    """A layer that is never active: zero, as the ANN says, and a warning that names it."""
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x) - 100)))))
    x = images(8)
    with pytest.warns(UserWarning, match="activation 'relu' was never active in calibration"):
        snn = converted(net, x, granularity=granularity)
    with torch.no_grad():
        assert relative_error(snn(x, T=256), net(x)) < 0.02
    assert snn.report().rows[0].never_fired == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted(small_resnet(), images(8, 3, 16, 16))


def test_row_empty_loader() -> None:
    with pytest.raises(ValueError, match="calibration is empty"):
        converted(small_resnet(), [])  # type: ignore[arg-type]


def test_row_zero_size_batch() -> None:
    """Skipped in calibration; as input it gives an empty output."""
    net, x = small_resnet(), images(8, 3, 16, 16)
    snn = converted(net, [x[:0], x, x[:0]])  # type: ignore[arg-type]
    assert torch.equal(snn(x), converted(net, x)(x))
    assert snn(x[:0]).shape == (0, 10)
    assert snn(x[:0], T=3, readout="all").shape == (3, 0, 10)


def test_row_max_does_not_depend_on_the_order() -> None:
    """Their moving average says 0.389 where the maximum is 1.977; ours is the maximum."""
    net, x = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), images(32)
    with torch.no_grad():
        largest = net(x).max().item()
    order = x.flatten(1).amax(1).argsort()
    for batches in (x[order].split(4), x[order.flip(0)].split(4)):
        snn = converted(net, batches, granularity="layer")  # type: ignore[arg-type]
        (node,) = snn.populations().values()
        assert node.v_threshold.item() == pytest.approx(largest, rel=1e-6)


def test_row_percentile_of_more_than_2_to_the_24() -> None:
    """torch.quantile refuses so many; a histogram takes any number."""
    histogram = ChannelHistogram(1, torch.device("cpu"))
    part = torch.linspace(0, 1, 2**20).view(1, 1, 2**20)
    for _ in range(17):
        histogram.update(part)
    theta, _ = thresholds(
        histogram, threshold="percentile", granularity="layer", T=8, start=0.5, percent=99.0
    )
    assert theta.item() == pytest.approx(0.99, abs=0.01)


# The network as an object


@pytest.fixture
def snn() -> SpikingNetwork:
    return converted(small_resnet(), images(16, 3, 16, 16), T=4)


def test_row_copies_files_export_and_compile(snn: SpikingNetwork) -> None:
    x = images(2, 3, 16, 16)
    file = io.BytesIO()
    torch.save(snn, file)
    file.seek(0)
    others = (
        copy.deepcopy(snn),
        torch.load(file, weights_only=False),
        torch.export.export(snn, (x,)).module(),
        torch.compile(snn, backend="eager", fullgraph=True),
    )
    for other in others:
        assert torch.equal(other(x), snn(x))


def test_row_bfloat16() -> None:
    """Membranes stay float32, and the error falls with T as in float32."""
    net, x = small_resnet().to(torch.bfloat16), images(16, 3, 16, 16).to(torch.bfloat16)
    snn = converted(net, x)
    currents = torch.rand(8, 2, 8, 4, 4, dtype=torch.bfloat16)
    for node in snn.populations().values():
        _, v = node.run(currents, emit="psp", return_v="last")
        assert v is not None and v.dtype == torch.float32
    with torch.no_grad():
        few, more = (relative_error(snn(x, T=T), net(x)) for T in (8, 256))
    assert more < 0.02 < few


def test_row_forgetting_to_reset(snn: SpikingNetwork) -> None:
    """Nothing to forget: a call is a function of its input."""
    x = images(2, 3, 16, 16)
    first = snn(x)
    snn(images(5, 3, 16, 16), T=9)
    assert torch.equal(snn(x), first)


def test_row_too_little_data_to_balance() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.warns(UserWarning, match="127 calibration images are too little data for thresh"):
        spikeconv.convert(net, torch.rand(127, 2), threshold="balance", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spikeconv.convert(net, torch.rand(128, 2), threshold="balance", progress=False)
        spikeconv.convert(net, torch.rand(8, 2), threshold="mse", progress=False)
