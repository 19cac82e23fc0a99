"""Operations of what was kept analog: its products of matrices, by hand and however written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.network.operations import LayerOperations
from tests.convert.nets import converted, images


class Ends(nn.Module):
    """A ReLU with a call before it and one after it, of sequences `[B, 5, 8]`."""

    def __init__(self, call: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.call = call
        self.hidden = nn.Linear(8, 8)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.hidden(self.call(self, x)))
        return self.call(self, h)


def counted(call: Any, **layers: nn.Module) -> tuple[list[LayerOperations], str]:
    """All rows but that of the linear layer, of two sequences, and the report as text."""
    snn = converted(Ends(call, **layers), images(16, 5, 8), T=3, analog=True)
    report = snn.report(images(2, 5, 8))
    assert report.operations is not None
    return [row for row in report.operations.rows if row.layer != "hidden"], str(report)


def attention(heads: int) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(8, heads, batch_first=True)


def by_hand(net: Any, x: Tensor) -> Tensor:
    """Attention of two heads of `net.m`, in parts."""
    three = F.linear(x, net.m.in_proj_weight, net.m.in_proj_bias).chunk(3, -1)
    q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in three)
    h = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
    return net.m.out_proj(h.transpose(1, 2).flatten(2))


def within(net: Any, x: Tensor) -> Tensor:
    return net.m(x, x, x, need_weights=False)[0]


# Four projections of 5 values of 8, and two products of 5 x 8 and 8 x 5.
ATTENTION = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
KEPT: dict[str, tuple[Any, dict[str, nn.Module], int]] = {
    "attention": (within, {"m": attention(2)}, ATTENTION),
    "with its weights": (lambda s, x: s.m(x, x, x)[0], {"m": attention(4)}, ATTENTION),
    "function": (lambda s, x: F.scaled_dot_product_attention(x, x, x), {}, 2 * 5 * 5 * 8),
    "transformer": (
        lambda s, x: s.m(x),
        {"m": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)},
        ATTENTION + 2 * 5 * 8 * 16,
    ),
    "recurrent": (
        lambda s, x: s.m(x[:, 0]).unsqueeze(1) + x,
        {"m": nn.GRUCell(8, 8)},
        3 * (8 * 8 + 8 * 8),
    ),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("inference", (False, True))
def test_products_within_a_kept_operation(name: str, inference: bool) -> None:
    """Two images each, once before the neurons and once on the mean behind them."""
    call, layers, macs = KEPT[name]
    with torch.inference_mode(inference):
        rows, text = counted(call, **layers)
    assert [(row.phase, row.macs, row.ann_macs) for row in rows] == [
        (phase, 2 * macs, 2 * macs) for phase in ("static", "readout")
    ]
    assert "of what was kept analog, operations count products of matrices alone" in text


def test_attention_counts_as_its_parts_do() -> None:
    layer = attention(2)
    whole, _ = counted(within, m=layer)
    parts, _ = counted(by_hand, m=layer)
    assert len(whole) == 2 and len(parts) > 2
    assert sum(row.macs for row in whole) == sum(row.macs for row in parts)
    assert sum(row.ann_macs for row in whole) == sum(row.ann_macs for row in parts)


def test_what_has_no_products_has_no_row() -> None:
    rows, text = counted(lambda s, x: x.softmax(-1))
    assert rows == [] and "kept analog: Tensor.softmax" in text


def test_how_torch_computes_attention_stays_as_it_was() -> None:
    for fast in (False, True):
        torch.backends.mha.set_fastpath_enabled(fast)
        counted(within, m=attention(2))
        assert torch.backends.mha.get_fastpath_enabled() is fast
