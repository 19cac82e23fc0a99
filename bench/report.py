"""What a benchmark leaves behind: a JSON file, written whole or not at all, and a table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, object]


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write `content` so that a reader finds the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2) + "\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as aligned text: words to the left, numbers to the right, `-` where there is none.

    >>> print(table([{"name": "clone", "ns": 0.25}, {"name": "ours", "ns": 12.0}], ["name", "ns"]))
    name       ns
    clone  0.2500
    ours    12.00
    """
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [
        max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)
    ]
    numeric = [any(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    lines = []
    for line in [list(columns), *cells]:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        # Four significant digits: more would pretend to a precision that timings do not have.
        return f"{value:#.4g}".rstrip(".") if abs(value) < 1e5 else f"{value:.0f}"
    return str(value)
