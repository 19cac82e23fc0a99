"""Finding cells by network, method and T: what tables and plots are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cells import Cell, Cells
from methods import METHODS, STEPS, Method, by_name
from scan import ann_key, cell_key
from trained import Loaded, Network


@dataclass(frozen=True)
class Results:
    """The cells, and what the networks are.

    Args:
        cells: all that were measured.
        networks: all that the tables have, in their order.
        loaded: name -> network, of those that are there.
        missing: name -> why it is not there.
        calibration: training images.
        seed: draws them.
        steps: columns.
    """

    cells: Cells
    networks: Sequence[Network]
    loaded: dict[str, Loaded]
    missing: dict[str, str]
    calibration: int
    seed: int
    steps: tuple[int, ...] = STEPS

    def all_images(self, network: str) -> int:
        """Test images of a network's dataset; 0 where it is not there."""
        return len(self.loaded[network].data.test) if network in self.loaded else 0

    def ann(self, network: str) -> Cell | None:
        """The ANN's cell."""
        for one in self.networks:
            if one.name == network and network in self.loaded:
                return self.cells.most_images(self._ann_key(one))
        return None

    def cell(self, network: str, method: str, T: int) -> Cell | None:
        """A method's cell on as many images as there is one on; None where there is none."""
        for one in self.networks:
            if one.name == network and network in self.loaded:
                trained = self.loaded[network].trained
                key = cell_key(self._ann_key(one), by_name(method), T, trained)
                return None if key is None else self.cells.most_images(key)
        return None

    def curve(self, network: str, method: str) -> dict[int, float]:
        """T -> accuracy, 0 to 1, where it was measured."""
        found = {T: self.cell(network, method, T) for T in self.steps}
        return {T: cell.accuracy for T, cell in found.items() if cell is not None}

    def rows(self, network: str) -> Iterator[Method]:
        """Methods with at least one cell."""
        return (method for method in METHODS if self.curve(network, method.name))

    def trained(self, network: str) -> str | None:
        """The threshold that the network was trained with."""
        return self.loaded[network].trained if network in self.loaded else None

    def to_dict(self) -> dict[str, Any]:
        """Network -> its ANN's accuracy, its weights and its methods' cells, as JSON has it."""
        content: dict[str, Any] = {}
        for network in self.networks:
            name = network.name
            if name not in self.loaded:
                content[name] = {"missing": self.missing[name]}
                continue
            ann = self.ann(name)
            content[name] = {
                "label": network.label,
                "dataset": network.dataset,
                "weights_sha256": self.loaded[name].weights,
                "trained": self.trained(name),
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
                "before_readout": cell.before,
                "seconds": dict(cell.seconds),
                "chosen": dict(cell.chosen),
                "commit": cell.made.get("commit"),
            }
            for T, cell in found
            if cell is not None
        }

    def _ann_key(self, network: Network) -> Any:
        loaded = self.loaded[network.name]
        calibration = min(self.calibration, len(loaded.data.train))
        return ann_key(network, loaded, self.all_images(network.name), calibration, self.seed)
