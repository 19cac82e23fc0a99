"""Starting from weights of another run: the same shape, perhaps another activation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate import thresholds
from spikeconv.data import ImageSet
from spikeconv.models import VGG, ResNet, load_model
from spikeconv.models.registry import with_options
from spikeconv.train.observe import activations, observe

CLIP_PERCENTILE = 99.9
_FREE = ("activation", "levels", "pooling", "dropout")


def start_from(model: ResNet | VGG, path: str | Path, images: ImageSet, indices: Tensor) -> str:
    """Load weights into a model, and set the bounds that the file does not have.

    Bounds in the file are taken. Where it has none, each layer's is set from what its activation
    receives on training images: for L levels the threshold of least square error under L steps of
    a neuron, for a clip the 99.9th percentile. The levels remain the model's own.

    Args:
        model: changed in place.
        path: a file of weights of the same shape, of any activation.
        images: the training set.
        indices: those of its images to set bounds from, int64 ``[n]``.

    Returns:
        What was done, for the reader of a log.

    Raises:
        FileNotFoundError, ValueError: as `load_model`, or the weights are of another shape.
    """
    other = load_model(path)
    ours = dataclasses.asdict(model.config)
    free = {field: ours[field] for field in _FREE if field in ours and hasattr(other.config, field)}
    same = type(other) is type(model) and with_options(other.config, free) == model.config
    if not same:
        raise ValueError(f"{path}: wanted weights of {model.config}, found those of {other.config}")
    own = model.state_dict()
    state = {
        name: tensor
        for name, tensor in other.state_dict().items()
        if name in own and not name.endswith(".levels")
    }
    model.load_state_dict(state, strict=False)
    unset = {
        path: module
        for path, module in activations(model).items()
        if isinstance(module, Clip) and f"{path}.bound" not in state
    }
    if not unset:
        return f"started from {path}"
    how = set_bounds(model, unset, images, indices)
    bounds = ", ".join(f"{name} {module.bound.item():.4g}" for name, module in unset.items())
    return f"started from {path}; bounds {how}: {bounds}"


@torch.no_grad()
def set_bounds(
    model: ResNet | VGG, unset: dict[str, Clip], images: ImageSet, indices: Tensor
) -> str:
    """Set the bounds of some activations from training images; say by which method."""
    histograms = observe(model, images, indices)
    for path, module in unset.items():
        bound, _ = thresholds(
            histograms[path],
            threshold="mse" if isinstance(module, QCFS) else "percentile",
            granularity="layer",
            T=int(module.levels) if isinstance(module, QCFS) else 1,
            start=0.5,
            percent=CLIP_PERCENTILE,
        )
        module.bound.fill_(bound.item())
    quantised = any(isinstance(module, QCFS) for module in unset.values())
    how = "of least square error" if quantised else f"at the {CLIP_PERCENTILE}th percentile"
    return f"{how} on {len(indices)} training images"
