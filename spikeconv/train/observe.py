"""What a network's activations receive on training images, as histograms for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeconv.activation import Clip
from spikeconv.calibrate import ChannelHistogram
from spikeconv.data import ImageSet

OBSERVED_IMAGES = 512
_BATCH = 128


def activations(model: nn.Module) -> dict[str, nn.Module]:
    """The activations that become neurons, by their path in the model."""
    return {
        path: module for path, module in model.named_modules() if isinstance(module, nn.ReLU | Clip)
    }


@torch.no_grad()
def observe(model: nn.Module, images: ImageSet, indices: Tensor) -> dict[str, ChannelHistogram]:
    """Count what every activation of a ReLU network receives.

    Args:
        model: on any device; clipped and quantised activations act as plain ReLUs meanwhile.
        images: where to read from, without augmentation.
        indices: which of them, int64 ``[n]``.

    Returns:
        Path of the activation -> histogram of its inputs.
    """
    parameter = next(model.parameters())
    found = activations(model)
    histograms: dict[str, ChannelHistogram] = {}
    names = {module: path for path, module in found.items()}

    def count(module: nn.Module, args: tuple[Tensor]) -> None:
        currents, path = args[0].float(), names[module]
        if path not in histograms:
            histograms[path] = ChannelHistogram(currents.shape[1], currents.device)
        histograms[path].update(currents)

    def rectify(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        return args[0].clamp(min=0)

    hooks = [module.register_forward_pre_hook(count) for module in found.values()]
    hooks += [
        module.register_forward_hook(rectify)
        for module in found.values()
        if isinstance(module, Clip)
    ]
    was_training = model.training
    model.eval()
    try:
        for part in indices.split(_BATCH):
            model(images.read(part).to(parameter.device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return histograms
