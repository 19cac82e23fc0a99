"""TF32 is off while a network is converted, and torch is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from spikeconv import convert
from spikeconv.precision import _SETTINGS, tf32_settings, without_tf32

EXACT = tuple(exact for *_, exact in _SETTINGS)


@pytest.fixture(autouse=True)
def _leave_torch_alone() -> Iterator[None]:
    before = tf32_settings()
    yield
    for (where, name, _), value in zip(_SETTINGS, before, strict=True):
        setattr(where, name, value)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_conversion_runs_without(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    before = tf32_settings()
    seen = set()
    linear = nn.functional.linear

    def note(*given: Tensor) -> Tensor:
        seen.add(tf32_settings())
        return linear(*given)

    monkeypatch.setattr(nn.functional, "linear", note)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    convert(net, torch.rand(8, 4), T=4, progress=False)
    assert seen == {EXACT}
    assert tf32_settings() == before


def test_settings_come_back_after_an_error() -> None:
    before = tf32_settings()
    with pytest.raises(ValueError, match="inside"), without_tf32():
        assert tf32_settings() == EXACT
        raise ValueError("inside")
    assert tf32_settings() == before


def test_either_spelling_of_the_settings_is_read() -> None:
    if not hasattr(torch.backends.cudnn, "conv"):
        return  # before torch 2.9 there is one spelling
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # the older name cannot be read any more
    with pytest.raises(RuntimeError):
        print(torch.backends.cudnn.allow_tf32)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    convert(net, torch.rand(8, 4), T=4, progress=False)
    assert tf32_settings()[0] == "ieee"
