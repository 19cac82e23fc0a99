"""Numbers and sizes that are not Python's own: NumPy's, and tensors that are made of shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.convert.nets import Net, between, check

BETWEEN: dict[str, Any] = {
    "float64 times": lambda h: np.sqrt(2) * h,
    "times float32": lambda h: h * np.float32(0.5),
    "float32 times": lambda h: np.float32(0.5) * h,
    "float64 plus": lambda h: np.linspace(0.5, 1, 3)[1] + h,
    "float32 minus": lambda h: np.float32(0.5) - h,
    "over float64": lambda h: h / np.float64(3),
    "int64 of a pool": lambda h: F.avg_pool2d(h, np.int64(2)),
    "over the root of a size": lambda h: h / torch.tensor(h.size(1), dtype=torch.float32).sqrt(),
    "over a product of sizes": lambda h: h * 9 / torch.tensor(h.shape[2:]).prod(),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_between_neurons(name: str) -> None:
    check(between(BETWEEN[name]), neurons=2)


@pytest.mark.parametrize("shape", [lambda h: h.shape[1:], lambda h: h.size()[1:]])
def test_numpys_product_of_a_shape_as_a_size(shape: Any) -> None:
    def body(s: Net, x: Tensor) -> Tensor:
        h = F.adaptive_avg_pool2d(F.relu(s.c1(x)), 1)
        out: Tensor = s.fc(h.view(-1, np.prod(shape(h))))
        return out

    check(Net(body), neurons=1)
