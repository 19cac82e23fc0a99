"""Calls that do nothing at inference."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeconv.network import vocabulary
from spikeconv.passes import kinds
from spikeconv.passes.sizes import Reads
from spikeconv.passes.trace import called

_MODULES = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
DROPPED_FUNCTIONS = frozenset(
    {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
)
# torch's own, which say last whether they drop: (input, p, train).
_OF_TORCH = frozenset({torch.dropout, torch.alpha_dropout, torch.feature_alpha_dropout})
_METHODS = frozenset({"contiguous", "detach", "clone"})
# Of torchvision, whose functions are marked to stay calls: they drop in training only.
_OF_TORCHVISION = frozenset({"stochastic_depth", "drop_block2d", "drop_block3d"})


def is_dropped(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the call does nothing at inference."""
    target = called(node, modules)
    if isinstance(target, nn.Module):
        return isinstance(target, _MODULES)
    if target is getattr:
        return node.args[1] == "data"
    if target is torch._assert:  # of a rank or dtype it is true for all images that a call takes
        return node.meta["reads"] is not Reads.SIZES
    if target in DROPPED_FUNCTIONS | _OF_TORCH:
        training = "training" if target in DROPPED_FUNCTIONS else "train"
        return 0 in (
            kinds.argument(node, 1, "p"),
            kinds.argument(node, 2, training, True),
        )
    if callable(target) and _drops_in_training(target):
        arguments = inspect.signature(target).bind(*node.args, **node.kwargs).arguments
        return not arguments.get("training", True)
    if node.op != "call_method":
        return False
    return target in _METHODS or (target in vocabulary.CASTS and not _changes_dtype(node))


def _changes_dtype(node: fx.Node) -> bool:
    source = node.args[0]
    return not isinstance(source, fx.Node) or source.meta.get("dtype") != node.meta.get("dtype")


def _drops_in_training(function: Callable[..., Any]) -> bool:
    """Whether it is one of torchvision's functions that do."""
    home, name = (str(getattr(function, key, "")) for key in ("__module__", "__name__"))
    return home.startswith("torchvision.") and name in _OF_TORCHVISION
