"""The main job: a network as a program, with neurons fitted to calibration data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikeconv.calibrate import Batches, Calibration
from spikeconv.calibrate.correct import check_corrections
from spikeconv.calibrate.method import METHODS, Method
from spikeconv.convert.choose import LeftOpen, candidates, trained_threshold
from spikeconv.convert.fit import fit
from spikeconv.convert.populate import rectifier
from spikeconv.network.network import SpikingNetwork
from spikeconv.network.program import Program
from spikeconv.network.report import Report
from spikeconv.network.timing import Timing, check_steps
from spikeconv.passes.example import example_for
from spikeconv.passes.frozen import frozen
from spikeconv.passes.program_of import program_of
from spikeconv.passes.trace import arguments
from spikeconv.passes.understand import Analog, check_analog
from spikeconv.precision import without_tf32

Network = TypeVar("Network", bound=SpikingNetwork)

# The report's figures are measured on so many calibration images, fewer if they are large.
_REPORT_IMAGES = 32
_REPORT_VALUES = 2**25


def convert(
    ann: nn.Module,
    calibration: Calibration,
    T: int = 16,
    threshold: str | None = None,
    granularity: str = "channel",
    v_init: str | float = "half",
    signed: bool = False,
    *,
    method: str = "best",
    corrections: Sequence[str] | None = None,
    percentile: float = 99.9,
    headroom: float | None = None,
    analog: Analog = False,
    delay: int = 0,
    srp: int = 0,
    cos: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> SpikingNetwork:
    """Turn a trained ReLU network into a spiking network that does the same in T time-steps.

    Every rectifier becomes a population of `IFNode`: theta from calibration, v(0) = v_init * theta,
    reset by subtraction, at most one spike a step, worth theta downstream, so that
    theta * count / T stands for the activation. Batch norm is folded; max pooling after a rectifier
    moves before the neuron; everything else is kept. The network may be in train or eval mode and
    is not changed; a copy of it is run, with its hooks.

    Args:
        ann: made of convolution, linear, batch norm, ReLU (any spelling; ReLU6 and other caps
            bound the threshold), pooling, addition, concatenation, reshaping, padding, dropout and
            multiplication by constants. Its inputs ``[B, *]`` are forward's arguments without a
            default, and those that a dict of calibration data names; shapes, but not values, may
            decide what forward calls. A check that only raises is left out, with a warning.
        calibration: training images: a tensor ``[N, *]``, or an iterable of tensors or of pairs
            (tensor, label), read once. Thresholds do not depend on the order of the batches;
            corrections are fitted on three quarters of them, 512 at most and fewer if they are
            large, and compared on 256 at most of the others; where more could have been fitted on,
            what is kept is fitted once more, on as many. For n inputs, a batch is a tuple of n
            tensors, of these and a label, a pair (such a tuple, label), or a dict of tensors by the
            names of forward's arguments.
        T: time-steps, 1 to 2^24, that the network is made for, and the default of a call.
        threshold: ``"max"``, ``"percentile"``, ``"mse"``: least square error of the neuron's T
            levels against the activation, ``"mse-closed"``: the same for normal currents,
            ``"balance"``: gradient steps on the clipping error, ``"tcl"`` and ``"qcfs"``: the bound
            that the network was trained with. None: the trained bound or ``"mse"``, see `method`.
        granularity: a threshold per ``"channel"`` (dimension 1) or per ``"layer"``.
        v_init: ``"half"`` of theta (OPI), ``"zero"``, a number in units of theta, or drawn for
            every neuron, which ties the network to the size of its images: ``"uniform"`` from 0 to
            theta, ``"gaussian"`` with mean theta / 2 and deviation theta / 4.
        signed: neurons that also fire -1, which undoes spikes fired too early.
        method: settles what is left open of threshold, corrections and headroom. ``"opi"``: the
            trained bound where the network was trained with one, else ``"mse"``, and no correction.
            ``"best"``: all combinations of these thresholds with no correction, bias correction,
            and refitted weights with a search over the neurons' parameters are made, and the one
            whose outputs on held-out calibration images are nearest to the ANN's is kept;
            `report()` says which and why. No labels are used. For more than 64 steps it is no
            correction and refitted weights, without headroom and with 0.1. With one threshold a
            layer, bias correction takes the place of the search, which gives every channel its own
            threshold, start and biases.
        corrections: names, in the order in which they are applied: ``"rts"``, ``"bias"``,
            ``"potential"``, ``"potential-channel"``, ``"step-bias"``, ``"search"``, ``"weights"``;
            each is a file in `spikeconv.calibrate`. ``"rts"`` is for ``v_init="zero"``: with
            ``"half"`` both shift by theta / 2.
        percentile: percent, for ``threshold="percentile"``, above 0, at most 100.
        headroom: added to every threshold, in units of it, 0 to 10, where no cap is in the way. It
            is for many steps: a neuron whose activation is its threshold has to fire at every one
            and cannot make up for currents that reach it late. None: 0, or see `method`.
        analog: operations without a spiking form, such as softmax or SiLU, that are kept as they
            are, where no spikes pass through them: before the first neuron they are computed once,
            after the last on the mean over time. True for all of them, or a collection of module
            paths and operations as the error names them. `report()` says what was kept.
        delay, srp, cos: steps of the T that come before the readout, and what they are for: see
            `spikeconv.network.timing.Timing`.
        seed: draws random initial potentials, 0 or more.
        progress: show progress bars.

    Returns:
        The spiking network, on the device and in the dtype of `ann`.

    Raises:
        ConversionError: with everything in the network that cannot be converted.
        ValueError: an unknown option, or name in analog; empty calibration data, or NaN or
            infinity in it.
        TypeError: an argument of a wrong type.

    Source: Bu et al., "Optimized Potential Initialization for Low-latency Spiking Neural Networks",
    AAAI 2022; thresholds and corrections: see `spikeconv.calibrate`.

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
        method=method,
        corrections=corrections,
        percentile=percentile,
        headroom=headroom,
        analog=analog,
        delay=delay,
        srp=srp,
        cos=cos,
        seed=seed,
        progress=progress,
    )


def convert_as(
    kind: type[Network],
    ann: nn.Module,
    calibration: Calibration,
    T: int = 16,
    threshold: str | None = None,
    granularity: str = "channel",
    v_init: str | float = "half",
    signed: bool = False,
    *,
    method: str = "best",
    corrections: Sequence[str] | None = None,
    percentile: float = 99.9,
    headroom: float | None = None,
    analog: Analog = False,
    delay: int = 0,
    srp: int = 0,
    cos: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> Network:
    """`convert`, to a given kind of spiking network."""
    if isinstance(ann, SpikingNetwork):
        raise TypeError("convert: ann is a SpikingNetwork already; give the ANN that it stands for")
    for path, module in ann.named_modules() if isinstance(ann, nn.Module) else ():
        if isinstance(module, SpikingNetwork):
            raise TypeError(
                f"convert: ann holds a SpikingNetwork, {path}; give the ANN in its place"
            )
    T = check_steps("convert", "T", T)
    timing = Timing(delay, srp, cos)
    read = timing.steps_read(T, "convert")
    if method not in METHODS:
        known = ", ".join(map(repr, METHODS))
        raise ValueError(f"convert: method must be one of {known}, got {method!r}")
    given = Method(
        threshold="mse" if threshold is None else threshold,
        granularity=granularity,
        v_init=v_init,
        corrections=() if corrections is None else check_corrections(corrections),
        signed=signed,
        percentile=percentile,
        headroom=0.0 if headroom is None else headroom,
        seed=seed,
    )
    if percentile != Method.percentile and threshold != "percentile":
        raise ValueError(
            "convert: percentile is for threshold='percentile', got "
            f"percentile={percentile} with threshold={threshold!r}"
        )
    check_analog(analog)

    with torch.inference_mode(False), torch.no_grad(), without_tf32():
        frozen_ann = frozen(ann)
        batches = Batches(calibration, _device_and_dtype(frozen_ann), arguments(frozen_ann))
        example = example_for(frozen_ann, batches.names, batches.first)
        program, layers, weights = program_of(frozen_ann, batches.names, example, analog)
        kind.check_program(program)
        trained = trained_threshold(rectifier(layers, s.name) for s in program.neurons())
        left_open = LeftOpen(threshold is None, corrections is None, headroom is None)
        methods = candidates(given, left_open, trained, read)
        if method == "opi":
            methods = methods[:1]
        fitted = fit(program, layers, weights, batches, methods, T, timing, progress)
        populations = fitted.populations
        settings = {**fitted.method.settings(), "calibration_images": batches.images}
        report = Report((), T, 0, settings, tried=fitted.tried)
        network = kind(
            program,
            layers,
            populations.neurons,
            weights,
            T,
            report,
            timing,
            populations.refitted,
        )
        network.describe(batches.first[: _report_images(program)], populations.dead)
    return network


def _device_and_dtype(module: nn.Module) -> Tensor:
    """An empty tensor on the device and in the dtype of the network."""
    tensors = (*module.parameters(), *module.buffers())
    floating = (tensor for tensor in tensors if tensor.is_floating_point())
    return next(floating, torch.empty(0, device="cpu")).new_empty(0)


def _report_images(program: Program) -> int:
    neurons = sum(max(1, torch.Size(step.shape).numel()) for step in program.neurons())
    return max(1, min(_REPORT_IMAGES, _REPORT_VALUES // neurons))
