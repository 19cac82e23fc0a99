"""Finding cells by network, method and T: what tables and plots are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cells import ARITHMETICS, Cell, Cells, Key
from methods import METHODS, STEPS, Method, by_name
from scan import ann_key, cell_key
from trained import Loaded, Network


def steps_of(
    cells: Cells, networks: Sequence[Network], seed: int, asked: Sequence[int] = ()
) -> tuple[int, ...]:
    """The columns of tables: T that all have, and what else was measured or is asked for."""
    measured = (key.T for network in networks for key in cells.newest(network.name, seed))
    return tuple(sorted({*STEPS, *asked, *measured} - {0}))


@dataclass(frozen=True)
class Results:
    """The cells, and what the networks are.

    Args:
        cells: all that were measured.
        networks: all that the tables have, in their order.
        loaded: name -> network, of those that are there.
        missing: name -> why it is not there.
        calibration: training images; None for each network's own number.
        seed: draws them.
        steps: columns.
        methods: rows, in their order.
        test_images: of the dataset's whole test set; 0 where nobody knows.
    """

    cells: Cells
    networks: Sequence[Network]
    loaded: dict[str, Loaded]
    missing: dict[str, str]
    calibration: int | None
    seed: int
    steps: tuple[int, ...] = STEPS
    methods: Sequence[Method] = METHODS
    test_images: int = 0

    def all_images(self, network: str) -> int:
        """Test images of a network's dataset, as far as is known; 0 of a network never seen."""
        key = self._key(network)
        return 0 if key is None else max(key.images, self.test_images)

    def calibrated(self, network: str) -> int | None:
        """Training images that a network's cells are calibrated on; None where it has none."""
        key = self._key(network)
        return None if key is None or not any(self.rows(network)) else key.calibration

    def ann(self, network: str) -> Cell | None:
        """The ANN's cell."""
        key = self._key(network)
        return None if key is None else self.cells.best(key)

    def cell(
        self, network: str, method: str, T: int, arithmetics: Sequence[str] = ARITHMETICS
    ) -> Cell | None:
        """A method's cell on most images, of equals the most exact; None where there is none.

        Args:
            network: its name.
            method: the row's name.
            T: all steps.
            arithmetics: those that it may have been run in.
        """
        ann = self._key(network)
        key = ann and cell_key(ann, by_name(method, self.methods), T, self.trained(network))
        if key is None:
            return None
        return self.cells.best(key, arithmetics)

    def curve(self, network: str, method: str) -> dict[int, float]:
        """T -> accuracy, 0 to 1, where it was measured."""
        found = {T: self.cell(network, method, T) for T in self.steps}
        return {T: cell.accuracy for T, cell in found.items() if cell is not None}

    def rows(self, network: str) -> Iterator[Method]:
        """Methods with at least one cell."""
        return (method for method in self.methods if self.curve(network, method.name))

    def trained(self, network: str) -> str | None:
        """The threshold that the network was trained with, None for ReLU."""
        if network in self.loaded:
            return self.loaded[network].trained
        return next(one.trained for one in self.networks if one.name == network)

    def to_dict(self) -> dict[str, Any]:
        """Network -> its ANN's accuracy, its weights and its methods' cells, as JSON has it."""
        content: dict[str, Any] = {}
        for network in self.networks:
            name = network.name
            key, ann = self._key(name), self.ann(name)
            if key is None:
                content[name] = {"missing": self.missing[name]}
                continue
            content[name] = {
                "label": network.label,
                "dataset": network.dataset,
                "weights_sha256": key.weights,
                "trained": self.trained(name),
                "calibration_images": self.calibrated(name),
                "given": dict(key.given),
                "ann": None if ann is None else ann.accuracy,
                "methods": {row.name: self._cells_of(name, row) for row in self.rows(name)},
            }
        return content

    def _cells_of(self, network: str, method: Method) -> dict[str, Any]:
        found = ((T, self.cell(network, method.name, T)) for T in self.steps)
        return {
            str(T): {
                "accuracy": cell.accuracy,
                "images": cell.images,
                "arithmetic": cell.arithmetic,
                "before_readout": cell.before,
                "seconds": dict(cell.seconds),
                "chosen": dict(cell.chosen),
                "commit": cell.made.get("commit"),
            }
            for T, cell in found
            if cell is not None
        }

    def _key(self, name: str) -> Key | None:
        """The key of the ANN's cell; of weights that are not here, as their cells have it."""
        if name in self.loaded:
            network = next(one for one in self.networks if one.name == name)
            return ann_key(network, self.loaded[name], None, self.calibration, self.seed)
        keys = self.cells.newest(name, self.seed)
        if not keys:
            return None
        asked = self.calibration or next(
            one.calibration for one in self.networks if one.name == name
        )
        newest = [key for key in keys if key.calibration == asked][-1:] or keys[-1:]
        images = max(key.images for key in keys)
        return replace(newest[0], images=images, T=0, settings={}, revision=1)
