"""What a spiking network is made of, as one module: to be written, fused, and made to learn."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, tensors_of
from spikeconv.files.file import write_file
from spikeconv.fuse.form import IntegerForm
from spikeconv.network.parts import Parts
from spikeconv.network.program import Program
from spikeconv.network.report import Report, warn_of_no_integers
from spikeconv.network.settled import settle
from spikeconv.network.timing import Timing
from spikeconv.network.trainable import make_trainable
from spikeconv.neuron import IFNode
from spikeconv.ops.if_multistep import check_no_tangent
from spikeconv.surrogate import ATan, Surrogate

Self = TypeVar("Self", bound="Assembly")


class Assembly(nn.Module):
    """A program with its layers, neurons and weights, which `SpikingNetwork` runs.

    Args:
        program: the calls.
        layers: by name of their step, as the ANN has them.
        neurons: an `IFNode` for every neuron step.
        constants: weights that functions read, by name of their step.
        T: time-steps of a call that does not say.
        report: what conversion did.
        timing: which of the steps are read; None: all.
        refitted: layers that calibration has changed, by name.

    Raises:
        TypeError: the program is not one of a subclass's kind.
    """

    _form: IntegerForm | None = None

    def __init__(
        self,
        program: Program,
        layers: dict[str, nn.Module],
        neurons: dict[str, IFNode],
        constants: dict[str, Tensor],
        T: int,
        report: Report,
        timing: Timing | None = None,
        refitted: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.check_program(program)
        self.program = program
        refitted = refitted or {}
        self.layers = nn.ModuleDict({**layers, **refitted})
        # The ANN's own layers where calibration changed weights, to compare with.
        self.originals = nn.ModuleDict({name: layers[name] for name in refitted})
        self.neurons = nn.ModuleDict(neurons)
        for name, value in constants.items():
            self.register_buffer(f"constant_{name}", value)
        self.T = T
        self.timing = Timing() if timing is None else timing
        self._report = report
        self.eval()

    @property
    def integers(self) -> IntegerForm | None:
        """The integer form of what a fused network is now, else None."""
        if self._form is not None:
            self._form.follow(self.weights(), self.timing)
        return self._form

    def _read_by(self, batch: Batch, T: int) -> object:
        return None if self._form is None else self._form.for_run(T, batch)

    @classmethod
    def check_program(cls, program: Program) -> None:
        """Raise TypeError where a subclass does not stand for such a network."""

    def train(self: Self, mode: bool = True) -> Self:
        """Stay in evaluation mode: batch norm that could not be folded must keep its statistics."""
        return super().train(False)

    def save(self, path: str | Path) -> None:
        """Write the network to a ``.safetensors`` file, which `spikeconv.load` opens.

        It holds the weights, the neurons, the calls by name, the timing and the report, and no
        code. A network on a GPU is written as it would be on the CPU. Whatever happens meanwhile,
        there is the old file or the whole new one.

        Args:
            path: of the file, in a folder that exists.

        Raises:
            TypeError: with everything in it that has no form in such a file: functions and layers
                that are not torch's, or a class of yours.
            ValueError, FileNotFoundError: it cannot be written there.
            ImportError: safetensors is not installed.
        """
        write_file(path, self.parts("SpikingNetwork.save"))

    def parts(self, function: str) -> Parts:
        """What the network is made of.

        Args:
            function: whose error it is where it cannot be taken apart.

        Raises:
            TypeError: it is of a class that this package has not.
        """
        kind = type(self)
        if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
            raise TypeError(
                f"{function}: the network must be of one of spikeconv's classes, got a "
                f"{kind.__module__}.{kind.__qualname__}; torch.save(snn, path) keeps such a one"
            )
        for layer in self.layers.values():
            settle(layer)  # which may have been changed since it was converted
        return Parts(
            kind.__name__,
            self.program,
            dict(self.layers.items()),
            dict(self.originals.items()),
            dict(self.populations().items()),
            self.weights(),
            self.T,
            self.timing,
            self._report,
            None if self._form is None else self._form.precision,
        )

    def fuse(self: Self, precision: str = "int8", *, backend: str | None = None) -> Self:
        """The same network with its covered layers in integers: `spikeconv.fuse`.

        Convolutions and linear layers (with the sums, shortcuts and average pools between them)
        and the neurons that they feed become one integer kernel each. What has no form in integers
        runs in floating point as before; `report()` says which, and why. It has weights and
        thresholds of its own; where they change, as by `load_state_dict`, the integers are made
        anew at the next call. Where no layer has such a form, a warning says so.

        Args:
            precision: of weights, with one scale for each output channel: ``"int8"``; ``"int16"``,
                in two passes, where that costs accuracy; or ``"int24"``, in three and in units as
                fine as T allows, which of few steps is about as exact as float32. Layers whose
                weights fewer bits hold as exactly, as those of a file that was made compact, take
                fewer passes.
            backend: ``"cpp"``, ``"triton"``, ``"reference"``, the definition in plain torch
                integers, or None for the best of the device that it runs on. All give the same
                bits.

        Raises:
            ValueError: another precision or backend.
        """
        with torch.inference_mode(False):  # in which torch does not count a tensor's changes
            fused = copy.deepcopy(self)
        layers = cast(Mapping[str, nn.Module], fused.layers)
        parts = fused.program, layers, fused.populations(), fused.weights()
        fused._form = IntegerForm(*parts, fused.timing, precision, backend)
        fused._report = fused._with_paths(fused._report)
        warn_of_no_integers(fused._report.paths)
        return fused

    def _with_paths(self, report: Report, x: Batch | None = None) -> Report:
        """A report with how each layer of a fused network runs now, on a batch as in `paths`."""
        form = self.integers
        if form is None:
            return report
        measured_before = x is None and report.images > 0
        return replace(report, paths=form.paths(self.T, x), before_fusing=measured_before)

    def trainable(
        self: Self,
        surrogate: Surrogate | nn.Module | None = None,
        *,
        detach_reset: bool = False,
        thresholds: bool = False,
    ) -> Self:
        """Let gradients flow through the neurons, and want them for the weights of all layers.

        Factors and summands that stand outside of layers stay as they are.

        With h the surrogate and theta a population's mean threshold::

            ds/dm = h((m - v_threshold) / theta) / theta

        The answers stay what they were. Outside of `torch.no_grad` a call keeps what its backward
        pass needs.

        Args:
            surrogate: derivative of a spike of neurons with a threshold of 1: one of
                `spikeconv.surrogate`, or SpikingJelly's, as in `IFNode`. None: ``ATan()``.
            detach_reset: take no gradient through the spikes that reset the potential.
            thresholds: make every population's threshold a parameter too. One that training drives
                to 0 or below is an error of the next call.

        Returns:
            The network itself.

        Raises:
            ValueError: neurons are signed; their spikes have no gradient.
            TypeError: an argument of a wrong type.

        Example:
            >>> import torch
            >>> from spikeconv.convert import convert
            >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            >>> snn = convert(ann, torch.rand(32, 4), T=4, progress=False).trainable()
            >>> snn(torch.rand(2, 4)).sum().backward()
            >>> sum(parameter.grad is not None for parameter in snn.parameters())
            4
        """
        self._check_not_fused("trainable", "train")
        make_trainable(
            self.layers,
            self.populations(),
            ATan() if surrogate is None else surrogate,
            detach_reset,
            thresholds,
        )
        return self

    def _check_not_fused(self, method: str, what: str) -> None:
        if self._form is not None:
            raise ValueError(
                f"SpikingNetwork.{method}: the network must not be fused, because integer kernels "
                f"have neither single steps nor gradients; {what} the network that it was made of"
            )

    def _check_fused_inputs(self, x: Batch) -> None:
        """Raise where a fused network is given what only stands for values, or tangents."""
        check_no_tangent("SpikingNetwork", tensors_of(x))
        try:
            for tensor in tensors_of(x):
                tensor.data_ptr()
            traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        except RuntimeError:
            traced = True
        if traced:
            raise ValueError(
                "SpikingNetwork: the network must not be fused in torch.export, torch.jit.trace, "
                "torch.vmap and the like, because integer kernels need the values of tensors, "
                "which are not there yet; export the network that it was made of"
            )

    def populations(self) -> Mapping[str, IFNode]:
        """`neurons`, as what they are."""
        return cast(Mapping[str, IFNode], self.neurons)

    def weights(self) -> dict[str, Tensor]:
        """Weights that functions read, by name of their step."""
        prefix = "constant_"
        return {
            name.removeprefix(prefix): value
            for name, value in self._buffers.items()
            if value is not None and name.startswith(prefix)
        }

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (f"T={self.T}", str(self.timing))))
