"""Networks to time on any machine without a download: random features under a head that is fitted.

A head of random weights would leave its classes so close that rounding decides between them, and
the outputs of two correct contestants could not be compared. Fitted to synthetic images it is sure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preactivation import preactivation_resnet
from spikeconv.models import build_model, load_model

CLASSES = 10
_OWN = ("resnet20", "resnet18", "resnet34", "vgg16")


def _torchvision(name: str) -> nn.Module:
    from torchvision import models  # which the other networks do without

    net: nn.Module = getattr(models, name)(num_classes=CLASSES)
    return net


_OTHERS: dict[str, Callable[[], nn.Module]] = {
    "preact14": partial(preactivation_resnet, CLASSES),
    "mobilenet_v2": partial(_torchvision, "mobilenet_v2"),
    "mnasnet1_0": partial(_torchvision, "mnasnet1_0"),
}
MODELS = (*_OWN, *_OTHERS)
_FIT_IMAGES = 256
_FIT_BATCH = 32


class Drawn(Protocol):
    """Where images and labels of `CLASSES` classes are drawn from."""

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Images ``[count, C, H, W]`` and int64 labels ``[count]``, the same for the same seed."""


@dataclass(frozen=True)
class Images:
    """Synthetic images of ten classes: a smooth pattern for each class, and noise.

    Args:
        size: height and width.
        seed: of the patterns; equal for images to fit on and to test on.
    """

    size: int
    seed: int = 0

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Images ``[count, 3, size, size]`` of about unit variance, and their classes."""
        pattern_generator = torch.Generator().manual_seed(self.seed)
        coarse = torch.randn(CLASSES, 3, 4, 4, generator=pattern_generator)
        patterns = F.interpolate(coarse, self.size, mode="bilinear")
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % CLASSES
        noise = torch.randn(count, 3, self.size, self.size, generator=generator)
        return patterns[labels] + 0.3 * noise, labels


def build_network(
    name: str,
    image_size: int,
    weights: Path | None = None,
    device: torch.device | None = None,
) -> nn.Module:
    """The ANN to convert, in eval mode: from a file of weights, or random and fitted.

    Args:
        name: one of `MODELS`. Of this package's, images below 64 pixels take the CIFAR form, others
            ImageNet's.
        image_size: height and width of the images.
        weights: a file as `spikeconv.models.load_model` opens it, or None.
        device: where it is fitted, and stays; default the CPU.

    Raises:
        ValueError: weights for a network that is not one of this package's.
    """
    if name in _OTHERS:
        if weights is not None:
            raise ValueError(f"--weights: wanted one of {', '.join(_OWN)} as --model, got {name}")
        torch.manual_seed(0)
        return fit(_open(_OTHERS[name]()).to(device), Images(image_size))
    registered = "vgg16_bn" if name == "vgg16" else name
    if weights is not None:
        return load_model(weights, registered).to(device)
    small = image_size < 64
    options: dict[str, object] = {"num_classes": CLASSES}
    if name == "vgg16":
        # Average pools: the form in which VGG is trained to be converted.
        options |= {"form": "cifar" if small else "imagenet", "pooling": "avg"}
    elif name != "resnet20":
        options["stem"] = "cifar" if small else "imagenet"
    torch.manual_seed(0)
    ann = build_model(registered, **options)
    return fit(ann.to(device), Images(image_size))


def _open(ann: nn.Module) -> nn.Module:
    """Most rectifiers open: fifty random layers that halve what they see leave nothing to fit."""
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 2)
    return ann


def fit(ann: nn.Module, images: Drawn) -> nn.Module:
    """Give random features the statistics of images, and a head that is fitted to them."""
    _settle_batch_norm(ann, images)
    _fit_head(ann, images)
    return ann.eval()


def _settle_batch_norm(ann: nn.Module, images: Drawn) -> None:
    """Give every batch norm the statistics of what it sees."""
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average over the batches
    ann.train()
    with torch.no_grad():
        for seed in range(1, 5):
            ann(images.draw(_FIT_BATCH, seed)[0].to(_device_of(ann)))
    ann.eval()


def _fit_head(ann: nn.Module, images: Drawn) -> None:
    """Fit the last linear layer by ridge regression on what arrives there."""
    head = [module for module in ann.modules() if isinstance(module, nn.Linear)][-1]
    arrived: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: arrived.append(inputs[0]))
    labels: list[Tensor] = []
    with torch.no_grad():
        for i in range(_FIT_IMAGES // _FIT_BATCH):
            x, y = images.draw(_FIT_BATCH, seed=100 + i)
            ann(x.to(_device_of(ann)))
            labels.append(y)
        hook.remove()
        features = torch.cat(arrived).double().cpu()
        wanted = F.one_hot(torch.cat(labels), CLASSES).double()
        mean = features.mean(0)
        centred = features - mean
        scale = centred.square().mean()
        gram = centred.T @ centred / len(centred) + 0.1 * scale * torch.eye(features.shape[1])
        solution = torch.linalg.solve(gram, centred.T @ (wanted - 1 / CLASSES) / len(centred))
        head.weight.copy_(solution.T)
        head.bias.copy_(1 / CLASSES - mean @ solution)


def _device_of(ann: nn.Module) -> torch.device:
    return next(ann.parameters()).device
