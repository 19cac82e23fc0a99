"""What a spiking network is made of, as one module that can be written to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

from torch import Tensor, nn

from spikeconv.convert.parts import Parts
from spikeconv.convert.program import Program
from spikeconv.convert.report import Report
from spikeconv.convert.timing import Timing
from spikeconv.files.file import write_file
from spikeconv.fuse.form import IntegerForm
from spikeconv.neuron import IFNode

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

    Attributes:
        integers: the integer form of a fused network, else None.
    """

    integers: IntegerForm | None = None

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
        write_file(path, self.parts())

    def parts(self) -> Parts:
        """What the network is made of.

        Raises:
            TypeError: it is of a class that this package has not.
        """
        kind = type(self)
        if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
            raise TypeError(
                f"SpikingNetwork.save: the network must be of one of spikeconv's classes, got a "
                f"{kind.__module__}.{kind.__qualname__}; torch.save(snn, path) keeps such a one"
            )
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
            None if self.integers is None else self.integers.precision,
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
