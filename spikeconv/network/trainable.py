"""A converted network that learns: surrogates in its neurons, gradients for its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import nn

from spikeconv.neuron import IFNode
from spikeconv.spike_function import as_surrogate
from spikeconv.surrogate import Surrogate, scaled


def make_trainable(
    layers: nn.ModuleDict,
    neurons: Mapping[str, IFNode],
    surrogate: object,
    detach_reset: bool,
    thresholds: bool,
) -> None:
    """What `SpikingNetwork.trainable` does, with the same arguments."""
    signed = [name for name, node in neurons.items() if node.signed]
    if signed:
        raise ValueError(
            "SpikingNetwork.trainable: neurons must not be signed, whose spikes have no gradient, "
            f"got {', '.join(signed)}; convert with signed=False"
        )
    for flag, given in (("detach_reset", detach_reset), ("thresholds", thresholds)):
        if not isinstance(given, bool):
            raise TypeError(
                f"SpikingNetwork.trainable: {flag} must be True or False, got {given!r}"
            )
    derivative = cast(Surrogate, as_surrogate(surrogate, "SpikingNetwork.trainable"))
    for node in neurons.values():
        theta = node.v_threshold.detach()
        node.surrogate_function = scaled(derivative, theta.double().mean().item())
        node.detach_reset = detach_reset
        if thresholds and not isinstance(node.v_threshold, nn.Parameter):
            del node.v_threshold  # of the buffers; the name in the state dict stays
            node.register_parameter("v_threshold", nn.Parameter(theta.clone()))
    for parameter in layers.parameters():
        parameter.requires_grad_(True)
