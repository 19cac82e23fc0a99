"""What a spiking network computes besides its neurons, counted, and the energy that would take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

MAC_JOULE, AC_JOULE = 4.6e-12, 0.9e-12
"""Energy of a multiplication with addition, and of an addition, in float32 and 45 nm."""

SOURCE = "45 nm, float32: 4.6 pJ a MAC, 0.9 pJ an accumulation; Horowitz, ISSCC 2014"

_WHEN = {"static": "once", "temporal": "each step", "readout": "once, on the mean"}
_PREFIXES = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_HEAD = ("weights", "computed", "spikes in", "accumulations", "MACs", "MACs of the ANN")


@dataclass(frozen=True)
class LayerOperations:
    """What one layer with weights does for all images together.

    Attributes:
        layer: where it stands in the network that was converted.
        phase: ``"static"``: before the first neuron, ``"temporal"``, or ``"readout"``: after the
            last.
        spikes: that arrive at it, over all steps.
        accumulates: additions of a weight because of a spike.
        macs: multiplications of a weight with what is no spike, each with its addition.
        ann_macs: those of the ANN's layer.
    """

    layer: str
    phase: str
    spikes: int
    accumulates: int
    macs: int
    ann_macs: int


@dataclass(frozen=True)
class Operations:
    """Operations of a spiking network, layer by layer, and of the ANN on the same images.

    A spike is worth an accumulation (AC) for every weight that it reaches, its fan-out: at the
    border of an image a convolution has fewer of them, with a stride or in groups too. ::

        accumulates = sum over spikes of fan-out(spike)
        energy      = 0.9 pJ * accumulates + 4.6 pJ * macs
        ann_energy  = 4.6 pJ * ann_macs

    Spikes of either sign count. What stands between neurons and weights and has none itself (a
    pool, an addition, a reshape, a scale, nearest upsampling) is wiring: each spike goes through it
    for itself, so one in an average pool counts as often as it reaches weights. Layers before the
    first neuron are computed once for an image and after the last one once on the mean, so they
    count as MACs, once; weights that read a value which changes with time and is no spike (the
    output of another layer, what bilinear upsampling gives) count as MACs at every step. In a
    `stream`, what is before the first neuron counts for each input that it is fed, and what is
    after the last at each step, as both are computed then; the ANN's are those of one run.
    Multiplications with the zeros of a padding, be it a convolution's own or a call before it,
    count nowhere, so the ANN has a few MACs less than other counters say. What was kept analog
    counts where it multiplies matrices: as a convolution, a linear layer or a product of matrices,
    and within attention, a transformer's layer or a recurrent cell. Nothing else of it counts,
    such as a softmax, a norm, a bilinear layer, `torch.mv` or a product of single values.

    Not in the energy: memory, the `updates` of the neurons (an addition and a comparison each) and
    biases. It is a figure to compare networks by, not a measurement.

    Source: constants: Horowitz, "Computing's Energy Problem (and what we can do about it)", ISSCC
    2014: in 45 nm at 0.9 V a float32 addition takes 0.9 pJ, a multiplication 3.7 pJ.

    Attributes:
        rows: of every layer with weights, in order, for all images together.
        images: how many.
        updates: of neurons: neurons times steps that were run, for all images together.

    Example:
        >>> rows = (
        ...     LayerOperations("conv1", "static", 0, 0, 1000, 1000),
        ...     LayerOperations("conv2", "temporal", 50, 450, 0, 1000),
        ... )
        >>> one = Operations(rows, images=1, updates=200)
        >>> one.accumulates, one.macs, one.ann_macs
        (450.0, 1000.0, 2000.0)
        >>> f"{one.energy:.3g} J, ANN {one.ann_energy:.3g} J"
        '5e-09 J, ANN 9.2e-09 J'
    """

    rows: tuple[LayerOperations, ...]
    images: int
    updates: int

    @property
    def accumulates(self) -> float:
        """Of one image, over all layers."""
        return self._per_image(row.accumulates for row in self.rows)

    @property
    def macs(self) -> float:
        """Of one image, over all layers."""
        return self._per_image(row.macs for row in self.rows)

    @property
    def ann_macs(self) -> float:
        """Of the ANN for one image, over all layers."""
        return self._per_image(row.ann_macs for row in self.rows)

    @property
    def energy(self) -> float:
        """Estimate for one image, in joules."""
        return AC_JOULE * self.accumulates + MAC_JOULE * self.macs

    @property
    def ann_energy(self) -> float:
        """Estimate for one image of the ANN, in joules."""
        return MAC_JOULE * self.ann_macs

    def _per_image(self, counts: Any) -> float:
        return sum(counts) / self.images if self.images else 0.0

    def added_up(self, total: Callable[[Tensor], Tensor]) -> Operations:
        """Those of all processes, of which `total` gives the sum of an int64 tensor."""
        numbers = [
            self.images,
            self.updates,
            *(n for r in self.rows for n in (r.spikes, r.accumulates, r.macs, r.ann_macs)),
        ]
        images, updates, *rest = total(torch.tensor(numbers, device="cpu")).tolist()
        rows = tuple(
            LayerOperations(row.layer, row.phase, *rest[4 * i : 4 * i + 4])
            for i, row in enumerate(self.rows)
        )
        return Operations(rows, images, updates)

    def to_dict(self) -> dict[str, Any]:
        """Means over the images, as JSON takes it; energies in joules."""
        names = ("spikes", "accumulates", "macs", "ann_macs")
        return {
            "accumulates": self.accumulates,
            "macs": self.macs,
            "ann_macs": self.ann_macs,
            "updates": self._per_image([self.updates]),
            "energy": self.energy,
            "ann_energy": self.ann_energy,
            "source": SOURCE,
            "images": self.images,
            "layers": [
                {**asdict(row), **{name: self._per_image([getattr(row, name)]) for name in names}}
                for row in self.rows
            ],
        }

    def summary(self) -> str:
        """Two lines, of one image."""
        return (
            f"an image takes {_si(self.accumulates)} accumulations and {_si(self.macs)} MACs, "
            f"the ANN {_si(self.ann_macs)} MACs\n"
            f"energy estimate {_si(self.energy, 'J')}, ANN {_si(self.ann_energy, 'J')} ({SOURCE})"
        )

    def __str__(self) -> str:
        counts = ("spikes", "accumulates", "macs", "ann_macs")
        table = [_HEAD] + [
            (
                row.layer,
                _WHEN[row.phase],
                *(_si(self._per_image([getattr(row, n)])) for n in counts),
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        updates = _si(self._per_image([self.updates]))
        notes = [self.summary(), f"not in it: memory, {updates} updates of neurons, biases"]
        return "\n".join([*lines, *notes])


def _si(value: float, unit: str = "") -> str:
    """Three digits and a prefix.

    >>> _si(40_551_000), _si(0), _si(4.6e-11, "J")
    ('40.6 M', '0', '46 pJ')
    """
    if value == 0:
        return f"0 {unit}".rstrip()
    exponent = 3 * math.floor(math.log10(float(f"{value:.3g}")) / 3)
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**exponent:.3g} {_PREFIXES[exponent]}{unit}".rstrip()
