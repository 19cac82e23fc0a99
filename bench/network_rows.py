"""The rows of one table of whole networks, the same in `throughput.py` and `gpu_networks.py`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gate import Gate
from report import table
from timing import Times

FIGURES = ("images_per_s", "ms", "q25", "q75", "times_ann", "peak_mb")
Row = dict[str, object]


def rows_of(times: Mapping[str, Times], peaks: Mapping[str, float | None], batch: int) -> list[Row]:
    """The table's rows; `times_ann` is the time in units of one ANN pass on the same batch."""
    ann = times["ann"].median if "ann" in times else None
    return [
        {
            "name": name,
            "images_per_s": batch / taken.median,
            "ms": taken.median * 1e3,
            "q25": taken.q25 * 1e3,
            "q75": taken.q75 * 1e3,
            "times_ann": None if ann is None else taken.median / ann,
            "peak_mb": peaks[name],
        }
        for name, taken in times.items()
    ]


def shown(setting: Mapping[str, object], rows: list[Row], gate: Gate) -> dict[str, Any]:
    """A table on the screen, with who is not in it, and as JSON takes it."""
    print(table(rows, ("name", *FIGURES)))
    if gate.report():
        print(gate.report(), file=sys.stderr)
    return {"setting": setting, "rows": rows, "skipped": gate.skipped, "refused": gate.refused}
