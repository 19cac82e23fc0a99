"""TF32 is off while a network is converted, and torch is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import convert
from spikeconv.precision import _NEWER, tf32_settings, without_tf32


def _set(where: Any, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(where, name, value)


cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
# How a user may have told torch; the newer ways need torch 2.9.
WAYS: dict[str, Callable[[], None]] = {
    "as it comes": lambda: None,
    "nowhere": _set(cudnn, "allow_tf32", False),
    "products too": _set(products, "allow_tf32", True),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
}
if _NEWER:
    WAYS["newer, convolutions"] = _set(cudnn.conv, "fp32_precision", "ieee")
    WAYS["newer, products"] = _set(products, "fp32_precision", "tf32")
    WAYS["newer, all"] = _set(torch.backends, "fp32_precision", "tf32")


def everything() -> list[object]:
    """All that torch says about float32, by older and newer names."""
    found: list[object] = list(tf32_settings())
    for read in (
        lambda: cudnn.allow_tf32,
        lambda: products.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            found.append(read())
        except RuntimeError:  # newer settings say more
            found.append("not to be read")
    return found


@pytest.fixture(params=WAYS)
def told(request: pytest.FixtureRequest) -> Iterator[str]:
    """Torch told in one of the ways, and as it was again afterwards."""
    newer = tf32_settings()
    general = getattr(torch.backends, "fp32_precision", None)
    older = cudnn.allow_tf32, torch.get_float32_matmul_precision()
    WAYS[request.param]()
    yield request.param
    if general is not None:
        torch.backends.fp32_precision = general  # type: ignore[assignment]
    cudnn.allow_tf32 = older[0]
    torch.set_float32_matmul_precision(older[1])
    for where, value in zip(_NEWER, newer, strict=False):
        where.fp32_precision = value


def test_a_conversion_runs_without(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything()
    seen = set()
    linear = nn.functional.linear

    def note(*given: Tensor) -> Tensor:
        seen.update(tf32_settings())
        return linear(*given)

    monkeypatch.setattr(nn.functional, "linear", note)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    convert(net, torch.rand(8, 4), T=4, progress=False)
    assert seen and not seen & {"tf32", True}
    assert everything() == before


def test_settings_come_back_after_an_error(told: str) -> None:
    before = everything()
    with pytest.raises(ValueError, match="inside"), without_tf32():
        raise ValueError("inside")
    assert everything() == before


@pytest.mark.parametrize("told", ["as it comes", "high"], indirect=True)
def test_older_settings_can_be_read_inside(told: str) -> None:
    # A user's network or data may do so.
    with without_tf32():
        assert not cudnn.allow_tf32 and not products.allow_tf32
        with cudnn.flags(benchmark=False):
            pass
