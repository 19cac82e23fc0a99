"""AutoAugment for a batch at once: images that get the same operation get it together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

_LEVELS = 10
"""Strengths of an operation, the weakest first."""

# An operation at a strength, and whether it is turned round.
Operation = tuple[str, int | None, bool]


def autoaugment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Apply to each image one of the 25 pairs of operations that were found for CIFAR-10.

    Each of a pair's operations is applied with its own probability, those with a direction in
    either with probability 1/2. The operations are torchvision's.

    Args:
        images: uint8 ``[B, C, H, W]``, on any device.
        generator: draws pairs, chances and directions; on the CPU.

    Source: Cubuk et al., "AutoAugment: Learning Augmentation Strategies from Data", CVPR 2019.
    """
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    pairs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    count = len(images)
    drawn = torch.randint(len(pairs), (count,), generator=generator).tolist()
    chances = torch.rand(count, 2, generator=generator).tolist()
    directions = torch.randint(2, (count, 2), generator=generator).tolist()
    images = images.clone()
    for place in range(2):
        together: dict[Operation, list[int]] = defaultdict(list)
        for image, pair in enumerate(drawn):
            name, probability, level = pairs[pair][place]
            if chances[image][place] <= probability:
                turned = name in _DIRECTED and directions[image][place] == 0
                together[name, level, turned].append(image)
        for operation, chosen in together.items():
            indices = torch.tensor(chosen, device=images.device)
            images[indices] = apply(operation, images[indices])
    return images


def apply(operation: Operation, images: Tensor) -> Tensor:
    """Apply one operation to all images, uint8 ``[n, C, H, W]``."""
    from torchvision.transforms.v2 import functional

    name, level, turned = operation
    height, width = images.shape[2:]
    share = 0.0 if level is None else level / (_LEVELS - 1)
    signed = -share if turned else share
    affine = partial(functional.affine, angle=0.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0])
    angle = math.degrees(math.atan(0.3 * signed))
    change: dict[str, Callable[[Tensor], Any]] = {
        "ShearX": partial(affine, shear=[angle, 0.0], center=[0.0, 0.0]),
        "ShearY": partial(affine, shear=[0.0, angle], center=[0.0, 0.0]),
        "TranslateX": partial(affine, translate=[int(150 / 331 * width * signed), 0]),
        "TranslateY": partial(affine, translate=[0, int(150 / 331 * height * signed)]),
        "Rotate": partial(functional.rotate, angle=30 * signed),
        "Brightness": partial(functional.adjust_brightness, brightness_factor=1 + 0.9 * signed),
        "Color": partial(functional.adjust_saturation, saturation_factor=1 + 0.9 * signed),
        "Contrast": partial(functional.adjust_contrast, contrast_factor=1 + 0.9 * signed),
        "Sharpness": partial(functional.adjust_sharpness, sharpness_factor=1 + 0.9 * signed),
        "Posterize": partial(functional.posterize, bits=8 - round(4 * share)),
        "Solarize": partial(functional.solarize, threshold=255 * (1 - share)),
        "AutoContrast": functional.autocontrast,
        "Equalize": functional.equalize,
        "Invert": functional.invert,
    }
    changed: Tensor = change[name](images)
    return changed


_DIRECTED = {
    *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    *("Brightness", "Color", "Contrast", "Sharpness"),
}
