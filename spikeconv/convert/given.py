"""Conversion without images, where the thresholds are known already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikeconv.calibrate import draw_potential, initial_potential
from spikeconv.network.layers import Rectifier
from spikeconv.network.network import SpikingNetwork
from spikeconv.network.report import LayerReport, Report
from spikeconv.network.timing import check_steps
from spikeconv.neuron import IFNode
from spikeconv.passes.frozen import frozen
from spikeconv.passes.program_of import program_of
from spikeconv.passes.trace import arguments

Network = TypeVar("Network", bound=SpikingNetwork)


def convert_given(
    kind: type[Network],
    ann: nn.Module,
    thresholds: Mapping[str, Tensor],
    image_shape: tuple[int, ...],
    T: int = 16,
    v_init: str | float = "half",
    signed: bool = False,
    seed: int = 0,
) -> Network:
    """Turn a trained network into a spiking network with given thresholds, without any image.

    Args:
        kind: class of the spiking network.
        ann: as in `spikeconv.convert`; it is not changed.
        thresholds: where an activation stands in the network -> its thresholds, float ``[C]`` or
            ``[]``, above 0. An activation with a trained bound, which is its threshold, needs none.
        image_shape: of one input.
        T: time-steps of a call that does not say, 1 or more.
        v_init: as in `spikeconv.convert`.
        signed: neurons that also fire -1.
        seed: draws random initial potentials, 0 or more.

    Returns:
        The spiking network. Nothing was measured: its report knows thresholds, and says NaN for
        what only images show.

    Raises:
        ConversionError: as `spikeconv.convert`.
        TypeError, ValueError: T is no integer of 1 or more, or an activation has no threshold.
    """
    T = check_steps("convert", "T", T)
    initial_potential(v_init)  # known, before anything is traced
    with torch.inference_mode(False), torch.no_grad():
        network = frozen(ann)
        like = next(ann.parameters())
        example = torch.zeros(2, *image_shape, dtype=like.dtype, device=like.device)
        names = arguments(network).required
        program, layers, weights = program_of(network, names, example)
        neurons: dict[str, IFNode] = {}
        rows = []
        for index, step in enumerate(program.neurons()):
            theta = _threshold(thresholds, step.label, layers[step.name]).to(like)
            theta = theta.view(-1, *[1] * (len(step.shape) - 1)) if theta.dim() else theta
            start = draw_potential(v_init, step.shape, seed, index).to(theta)
            neurons[step.name] = IFNode(theta, start * theta, signed=signed)
            spread = (theta.min().item(), theta.mean().item(), theta.max().item())
            starts = (start.min().item(), start.mean().item(), start.max().item())
            unmeasured = (math.nan, math.nan, math.nan)
            rows.append(LayerReport(step.name, step.label, step.shape, spread, starts, *unmeasured))
        settings = {"threshold": "given", "v_init": v_init, "signed": signed}
        report = Report(tuple(rows), T, 0, settings)
        return kind(program, layers, neurons, weights, T, report)


def _threshold(thresholds: Mapping[str, Tensor], label: str, rectifier: nn.Module) -> Tensor:
    if label in thresholds:
        return thresholds[label]
    if isinstance(rectifier, Rectifier) and rectifier.trained:
        return torch.tensor(rectifier.cap, dtype=torch.float64, device="cpu")
    raise ValueError(
        f"convert: thresholds must have one for activation {label!r}, which has no trained bound; "
        f"got those of {', '.join(thresholds) or 'none'}"
    )
