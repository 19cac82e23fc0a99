"""Networks whose arithmetic is exact in float32: what the savings and the chunks are proven on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net


def _plain(net: Net, x: Tensor) -> Tensor:
    return net.fc(F.adaptive_avg_pool2d(F.relu(net.c2(F.relu(net.c1(x)))), 1).flatten(1))


def _residual(net: Net, x: Tensor) -> Tensor:
    h = F.relu(net.c1(x))
    return net.head(F.relu(net.c2(h) + h))


def _concat(net: Net, x: Tensor) -> Tensor:
    """A static value beside a temporal one, and the image itself read at the end."""
    static = net.c1(x)
    both = torch.cat([F.relu(static), static, x], 1)
    return net.fc(torch.cat([F.relu(net.wide(both)), x], 1).mean((2, 3)))


def _pool_before(net: Net, x: Tensor) -> Tensor:
    return net.head(F.relu(net.c2(F.max_pool2d(F.relu(net.c1(x)), 2))))


def _pool_in_time(net: Net, x: Tensor) -> Tensor:
    """Pools that no neuron comes before: of a sum of spikes, and in the readout."""
    h = F.max_pool2d(net.c2(F.relu(net.c1(x))), 2)
    return net.head(F.max_pool2d(F.relu(h) - h, 2))


def _capped(net: Net, x: Tensor) -> Tensor:
    return net.head(F.hardtanh(net.c2(F.relu6(net.c1(x))), 0, 0.5))


def _ends_in_relu(net: Net, x: Tensor) -> Tensor:
    return F.relu(net.c2(F.relu(net.c1(x))) + net.w)


def _scaled(net: Net, x: Tensor) -> Tensor:
    h = F.relu(net.c1(x)) * net.w
    return net.head(F.relu(net.c2(h - 0.25) + h / 2) - x[:, :1])


def _branches(net: Net, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Values read both by neurons and by the readout, which gives several outputs."""
    h = F.relu(net.c1(x))
    left, right = h.chunk(2, 1)
    y = F.relu(net.narrow(left))
    return net.head(y + h), {"y": y, "right": right.flatten(1)}


NETWORKS: dict[str, Callable[[], Net]] = {
    "plain": lambda: Net(_plain),
    "residual": lambda: Net(_residual),
    "concat": lambda: Net(_concat, wide=nn.Conv2d(10, 2, 3, padding=1)),
    "pool before": lambda: Net(_pool_before),
    "pool in time": lambda: Net(_pool_in_time),
    "capped": lambda: Net(_capped),
    "ends in relu": lambda: Net(_ends_in_relu, w=nn.Parameter(torch.randn(4, 1, 1))),
    "scaled": lambda: Net(_scaled, w=nn.Parameter(torch.randn(4, 1, 1))),
    "branches": lambda: Net(_branches, narrow=nn.Conv2d(2, 4, 3, padding=1)),
}
