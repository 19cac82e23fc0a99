"""Where a layer's error comes from: parts by hand, and that they are all of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikeconv.convert import convert
from spikeconv.network.error_shares import KINDS, error_shares


def test_shares_of_one_neuron_by_hand() -> None:
    """theta = 1, T = 4, v(0) = 1/2: 1.3 is clipped to 1, and 0.3 is said as 1/4."""
    ann = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        ann[0].weight.fill_(1)
    calibration = torch.tensor([[1.0]])
    snn = convert(ann, calibration, T=4, threshold="max", corrections=(), progress=False)
    clipped = error_shares(snn, torch.tensor([[1.3]]))["1"]
    theta = float(next(iter(snn.populations().values())).v_threshold)
    assert theta == pytest.approx(1, rel=1e-3)
    assert clipped["clipping"] == 1
    assert clipped["error"] == pytest.approx(0.3 / 1.3, abs=1e-3)
    rounded = error_shares(snn, torch.tensor([[0.3]]))["1"]
    assert rounded["quantisation"] == 1
    assert rounded["error"] == pytest.approx(0.05 / 0.3, abs=1e-2)
    assert rounded["inherited"] == rounded["unevenness"] == 0


@pytest.mark.parametrize("corrections", [(), ("rts",), ("step-bias",), ("weights", "search")])
def test_shares_are_a_whole_and_a_first_layer_inherits_nothing(
    corrections: tuple[str, ...],
) -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
    x = torch.rand(32, 6)
    snn = convert(ann, x, T=6, threshold="mse", corrections=corrections, progress=False)
    shares = error_shares(snn, x)
    first, second = shares.values()
    for layer in (first, second):
        assert sum(layer[kind] for kind in KINDS) == pytest.approx(1, abs=1e-3)
    assert second["inherited"] > 0
    # Its current is the same at every step, so it fires evenly, unless its bias changes with time.
    if corrections in ((), ("rts",)):
        assert first["unevenness"] == pytest.approx(0, abs=1e-9)
    if "weights" not in corrections:
        assert first["inherited"] == pytest.approx(0, abs=1e-9)
    reported = [row.error for row in snn.report(x).rows]
    assert [layer["error"] for layer in shares.values()] == pytest.approx(reported, abs=1e-4)
