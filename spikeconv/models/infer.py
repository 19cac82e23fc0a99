"""From a state dict to the configuration of the network it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from spikeconv.models.registry import Config
from spikeconv.models.resnet_config import ResNetConfig
from spikeconv.models.vgg import VGG_STAGES, VGGConfig

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


def canonical_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict under torchvision's names.

    Prefixes of `DataParallel` and `torch.compile` go, and the names that CIFAR ResNets carry
    elsewhere (``linear`` for the head, ``shortcut`` for a projection) become ``fc`` and
    ``downsample``; a VGG's head that is a bare linear layer becomes ``classifier.0``.

    Example:
        >>> import torch
        >>> list(canonical_names({"module.linear.bias": torch.zeros(10)}))
        ['fc.bias']
    """
    names = list(state)
    for prefix in PREFIXES * 2:
        if names and all(name.startswith(prefix) for name in names):
            names = [name.removeprefix(prefix) for name in names]
    renamed = []
    for name in names:
        head, _, rest = name.partition(".")
        if head == "linear":
            name = f"fc.{rest}"
        elif head == "classifier" and rest in ("weight", "bias"):
            name = f"classifier.0.{rest}"
        renamed.append(name.replace(".shortcut.", ".downsample."))
    return dict(zip(renamed, state.values(), strict=True))


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """Return the configuration whose network has these parameters.

    Args:
        state: names as `canonical_names` gives them.

    Raises:
        ValueError: they are not those of a ResNet or VGG; names what is missing.
    """
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        return _infer_resnet(state)
    if "features.0.weight" in state:
        return _infer_vgg(state)
    sample = ", ".join(list(state)[:3])
    raise ValueError(
        f"found {sample}{', ...' if len(state) > 3 else ''}, which are the parameters of no ResNet "
        "(conv1, layer1.0.conv1, ...) and no VGG (features.0, ...)"
    )


def _shape(state: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"found no {name}")
    shape = tuple(state[name].shape)
    if len(shape) != dims:
        raise ValueError(f"found {name} of shape {list(shape)}, not of {dims} dimensions")
    return shape


def _infer_resnet(state: Mapping[str, Tensor]) -> ResNetConfig:
    stem = _shape(state, "conv1.weight", 4)
    if stem[2] not in (3, 7):
        raise ValueError(f"found conv1.weight of shape {list(stem)}, not 3x3 or 7x7")
    blocks: list[int] = []
    widths: list[int] = []
    while f"layer{len(blocks) + 1}.0.conv1.weight" in state:
        stage = f"layer{len(blocks) + 1}"
        widths.append(_shape(state, f"{stage}.0.conv1.weight", 4)[0])
        count = 1
        while f"{stage}.{count}.conv1.weight" in state:
            count += 1
        blocks.append(count)
    return ResNetConfig(
        tuple(blocks),
        tuple(widths),
        bottleneck="layer1.0.conv3.weight" in state,
        stem="imagenet" if stem[2] == 7 else "cifar",
        shortcut="B" if any(".downsample." in name for name in state) else "A",
        num_classes=_shape(state, "fc.weight", 2)[0],
        in_channels=stem[1],
        **_infer_activation(state),
    )


def _infer_vgg(state: Mapping[str, Tensor]) -> VGGConfig:
    convolutions = {
        int(match[1])
        for name, tensor in state.items()
        if (match := re.fullmatch(r"features\.(\d+)\.weight", name)) and tensor.dim() == 4
    }
    batch_norm = any(name.endswith("running_mean") for name in state)
    depth = next(
        (d for d in VGG_STAGES if _positions(d, batch_norm) == convolutions),
        None,
    )
    if depth is None:
        raise ValueError(
            f"found convolutions at features {sorted(convolutions)}, which are those of no VGG"
        )
    form = "imagenet" if "classifier.6.weight" in state else "cifar"
    head = "classifier.6.weight" if form == "imagenet" else "classifier.0.weight"
    return VGGConfig(
        depth,
        batch_norm,
        form=form,
        num_classes=_shape(state, head, 2)[0],
        in_channels=_shape(state, "features.0.weight", 4)[1],
        **_infer_activation(state),
    )


def _infer_activation(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of the activation, which is told by its bound and its levels."""
    levels = {int(tensor) for name, tensor in state.items() if name.endswith(".levels")}
    if len(levels) > 1:
        raise ValueError(f"found activations of {sorted(levels)} levels, not of one number")
    if levels:
        return {"activation": "qcfs", "levels": levels.pop()}
    bounded = any(name.endswith(".bound") for name in state)
    return {"activation": "clip" if bounded else "relu"}


def _positions(depth: int, batch_norm: bool) -> set[int]:
    """Index of every convolution in `VGG.features`."""
    positions, at = set(), 0
    for count in VGG_STAGES[depth]:
        for _ in range(count):
            positions.add(at)
            at += 3 if batch_norm else 2
        at += 1
    return positions
