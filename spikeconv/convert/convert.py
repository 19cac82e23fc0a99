"""The main job: trace, normalise, replace, calibrate."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikeconv.calibrate import (
    Batches,
    Calibration,
    ChannelHistogram,
    initial_potential,
    thresholds,
)
from spikeconv.calibrate.threshold import check_options
from spikeconv.convert.analog import run_analog
from spikeconv.convert.examine import examine, two_images
from spikeconv.convert.layers import Rectifier
from spikeconv.convert.lower import lower
from spikeconv.convert.network import SpikingNetwork
from spikeconv.convert.normalise import normalise
from spikeconv.convert.program import Program
from spikeconv.convert.report import Report
from spikeconv.convert.same import check_same
from spikeconv.convert.trace import arguments, frozen, trace
from spikeconv.convert.understand import Analog, check_analog, understand
from spikeconv.neuron import IFNode

Network = TypeVar("Network", bound=SpikingNetwork)

# The report's figures are measured on so many calibration images, fewer if they are large.
_REPORT_IMAGES = 32
_REPORT_VALUES = 2**25


def convert(
    ann: nn.Module,
    calibration: Calibration,
    T: int = 16,
    threshold: str = "mse",
    granularity: str = "channel",
    v_init: str | float = "half",
    signed: bool = False,
    *,
    percentile: float = 99.9,
    analog: Analog = False,
    progress: bool = True,
) -> SpikingNetwork:
    """Turn a trained ReLU network into a spiking network that does the same in T time-steps.

    Every rectifier becomes a population of `IFNode`: theta from calibration, v(0) = v_init * theta,
    reset by subtraction, at most one spike a step, worth theta downstream, so that
    theta * count / T stands for the activation. Batch norm is folded; max pooling after a rectifier
    moves before the neuron; everything else is kept. The network may be in train or eval mode and
    is not changed.

    Args:
        ann: made of convolution, linear, batch norm, ReLU (any spelling; ReLU6 and other caps
            bound the threshold), pooling, addition, concatenation, reshaping, padding, dropout and
            multiplication by constants; traceable by torch.fx. Its inputs ``[B, *]`` are forward's
            arguments without a default, and those that a dict of calibration data names.
        calibration: training images: a tensor ``[N, *]``, or an iterable of tensors or of pairs
            (tensor, label), read once. The order of the batches does not matter. For n inputs, a
            batch is a tuple of n tensors, of these and a label, a pair (such a tuple, label), or a
            dict of tensors by the names of forward's arguments.
        T: time-steps >= 1 that thresholds are optimised for, and the default of a call.
        threshold: ``"max"``, ``"percentile"``, or ``"mse"``: least square error of the neuron's T
            levels against the activation.
        granularity: a threshold per ``"channel"`` (dimension 1) or per ``"layer"``.
        v_init: ``"half"`` of theta (OPI), ``"zero"``, or a number in units of theta.
        signed: neurons that also fire -1, which undoes spikes fired too early.
        percentile: percent, for ``threshold="percentile"``, above 0, at most 100.
        analog: operations without a spiking form, such as softmax or SiLU, that are kept as they
            are, where no spikes pass through them: before the first neuron they are computed once,
            after the last on the mean over time. True for all of them, or a collection of module
            paths and operations as the error names them. `report()` says what was kept.
        progress: show a progress bar.

    Returns:
        The spiking network, on the device and in the dtype of `ann`.

    Raises:
        ConversionError: with everything in the network that cannot be converted.
        ValueError: an unknown option, or name in analog; empty calibration data, or NaN or
            infinity in it.
        TypeError: an argument of a wrong type.

    Source: Bu et al., "Optimized Potential Initialization for Low-latency Spiking Neural Networks",
    AAAI 2022; thresholds: see `spikeconv.calibrate`.

    Example:
        >>> from torch import nn
        >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> images = torch.rand(32, 4)
        >>> snn = convert(ann, images, T=8, progress=False)
        >>> snn(images).shape, snn(images, readout="all").shape
        (torch.Size([32, 3]), torch.Size([8, 32, 3]))
    """
    return convert_as(
        SpikingNetwork,
        ann,
        calibration,
        T,
        threshold,
        granularity,
        v_init,
        signed,
        percentile=percentile,
        analog=analog,
        progress=progress,
    )


def convert_as(
    kind: type[Network],
    ann: nn.Module,
    calibration: Calibration,
    T: int = 16,
    threshold: str = "mse",
    granularity: str = "channel",
    v_init: str | float = "half",
    signed: bool = False,
    *,
    percentile: float = 99.9,
    analog: Analog = False,
    progress: bool = True,
) -> Network:
    """`convert`, to a given kind of spiking network."""
    if isinstance(T, bool) or not isinstance(T, int):
        raise TypeError(f"convert: T must be an integer, got {type(T).__name__}")
    if T < 1:
        raise ValueError(f"convert: T must be at least 1, got {T}")
    if not isinstance(signed, bool):
        raise TypeError(f"convert: signed must be True or False, got {signed!r}")
    check_options(threshold, granularity, percentile)
    check_analog(analog)
    start = initial_potential(v_init)

    with torch.inference_mode(False), torch.no_grad():
        frozen_ann = frozen(ann)
        batches = Batches(calibration, _device_and_dtype(frozen_ann), arguments(frozen_ann))
        example = two_images(batches.first[:1])
        traced = trace(frozen_ann, batches.names, example)
        problems = examine(traced, example)
        normalise(traced)
        understand(traced, problems, analog)
        program, layers, weights = lower(traced)
        check_same(frozen_ann, program, layers, weights, example)
        if traced.meta.get("asks_batch"):
            check_same(frozen_ann, program, layers, weights, example[:1])
        kind.check_program(program)
        histograms = _observe(program, layers, weights, batches, progress)
        neurons: dict[str, IFNode] = {}
        dead: dict[str, int] = {}
        for step in program.neurons():
            theta, dead[step.name] = thresholds(
                histograms[step.name],
                threshold=threshold,
                granularity=granularity,
                T=T,
                start=start,
                percent=percentile,
            )
            rank = len(step.shape)
            theta = theta.view(-1, *[1] * (rank - 1)) if len(theta) > 1 else theta.view(())
            neurons[step.name] = IFNode(theta, start * theta, signed=signed)
        settings = {
            "threshold": f"{threshold} {percentile:g}" if threshold == "percentile" else threshold,
            "granularity": granularity,
            "v_init": v_init,
            "signed": signed,
            "calibration_images": batches.images,
        }
        network = kind(program, layers, neurons, weights, T, Report((), T, 0, settings))
        network.describe(batches.first[: _report_images(program)], dead)
    return network


def _device_and_dtype(module: nn.Module) -> Tensor:
    """An empty tensor on the device and in the dtype of the network."""
    tensors = (*module.parameters(), *module.buffers())
    floating = (tensor for tensor in tensors if tensor.is_floating_point())
    return next(floating, torch.empty(0)).new_empty(0)


def _observe(
    program: Program,
    layers: dict[str, nn.Module],
    weights: dict[str, Tensor],
    batches: Batches,
    progress: bool,
) -> dict[str, ChannelHistogram]:
    """Histograms of every neuron's currents, as the ANN has them, cut at the rectifier's cap."""
    histograms: dict[str, ChannelHistogram] = {}
    labels = {step.name: step.label for step in program.neurons()}

    def observe(name: str, current: Tensor, activation: Tensor) -> None:
        rectifier = layers[name]
        assert isinstance(rectifier, Rectifier)
        current = current.unsqueeze(1) if current.dim() == 1 else current  # one neuron an image
        if name not in histograms:
            histograms[name] = ChannelHistogram(current.shape[1], current.device)
        capped = current if math.isinf(rectifier.cap) else current.clamp(max=rectifier.cap)
        try:
            histograms[name].update(capped)
        except ValueError as error:
            raise ValueError(
                f"convert: activation {labels[name]!r} on calibration data: {error}"
            ) from error

    for batch in batches.shown(progress):
        run_analog(program, layers, weights, batch, observe)
    return histograms


def _report_images(program: Program) -> int:
    neurons = sum(max(1, torch.Size(step.shape).numel()) for step in program.neurons())
    return max(1, min(_REPORT_IMAGES, _REPORT_VALUES // neurons))
