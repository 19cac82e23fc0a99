"""What was aimed at on an H100, and what the files of a GPU suite say of it.

    python bench/gpu_goals.py bench/results/<device>

A goal whose measurement is not there is "not measured"; the exit status is 0 whatever was reached.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import table

COLUMNS = ("goal", "wanted", "found", "reached")
MAIN = "resnet18-224px-b64-T16"
SINGLE = "resnet18-224px-b1-T16"


@dataclass(frozen=True)
class Goal:
    """One aim: a figure that is at least, or at most, so large; None where it was not measured."""

    goal: str
    wanted: float
    found: float | None
    at_most: bool = False

    def row(self) -> dict[str, object]:
        """The goal as a line of the table."""
        sign = "<=" if self.at_most else ">="
        if self.found is None:
            reached = "not measured"
        else:
            good = self.found <= self.wanted if self.at_most else self.found >= self.wanted
            reached = "yes" if good else "no"
        wanted = f"{sign} {self.wanted:g}"
        return {"goal": self.goal, "wanted": wanted, "found": self.found, "reached": reached}


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="folder of the suite's JSON files")
    folder = parser.parse_args(arguments).results
    if not folder.is_dir():
        parser.error(f"results: {folder} is no folder")
    print(table([goal.row() for goal in goals(folder)], COLUMNS))
    return 0


def goals(folder: Path) -> list[Goal]:
    """All goals, with what the files in a folder say of them."""
    scans = [found for path in sorted(folder.glob("kernels-*.json")) if (found := _read(path))]
    layers, networks = _read(folder / "gpu-layers.json"), _read(folder / "gpu-networks.json")
    return [*_scan_goals(scans), *_layer_goals(layers), *_network_goals(networks)]


def _scan_goals(scans: list[dict[str, Any]]) -> Iterator[Goal]:
    """The best backend's share of the copy bandwidth, in the dtypes' worst setting."""
    for dtype in ("float32", "bfloat16", "float16"):
        shares = []
        for scan in scans:
            ours = [
                row["copy_share"]
                for row in scan["rows"]
                if row["dtype"] == dtype
                and row["emit"] == "spikes"
                and row["name"].startswith("spikeconv-")
            ]
            shares += [max(ours)] if ours else []
        yield Goal(f"IF scan, {dtype}: share of copy bandwidth", 0.9, min(shares, default=None))


def _layer_goals(layers: dict[str, Any] | None) -> Iterator[Goal]:
    rows = [] if layers is None else layers["rows"]
    for channels in (128, 256, 512):
        shares = [
            row["peak_share"]
            for row in rows
            if row["channels"] == channels
            and row["name"] == "spikeconv-int8"
            and row["layer"].startswith(f"{channels}ch")
            and row["peak_share"] is not None
        ]
        goal = f"fused layer of {channels} channels: share of the int8 peak"
        yield Goal(goal, 0.5, min(shares, default=None))


def _network_goals(networks: dict[str, Any] | None) -> Iterator[Goal]:
    tables = {} if networks is None else networks["tables"]
    ours = _ms(tables, MAIN, "spikeconv-int8")
    for rival, wanted, what in (
        ("ann", 1.0, "its ANN in float32 (TF32), eager"),
        ("spikingjelly-default", 10.0, "SpikingJelly's default"),
    ):
        theirs = _ms(tables, MAIN, rival)
        found = None if ours is None or theirs is None else theirs / ours
        yield Goal(f"ResNet-18 at 224, T = 16, batch 64: times {what}", wanted, found)
    graph = _ms(tables, SINGLE, "spikeconv-int8-graph")
    yield Goal("ResNet-18 at 224, T = 16, batch 1 with a graph: ms", 2.0, graph, at_most=True)


def _ms(tables: dict[str, Any], setting: str, name: str) -> float | None:
    rows = tables.get(setting, {"rows": []})["rows"]
    return next((row["ms"] for row in rows if row["name"] == name), None)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    sys.exit(main())
