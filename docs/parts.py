"""What the tables of results.md are made of: Markdown and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown, words to the left and figures to the right."""
    rows = list(rows)
    figures = [all(re.fullmatch(r"[\d.,()_ -]+", row[i]) for row in rows) for i in range(len(head))]
    lines = [head, ["---:" if figure else "---" for figure in figures], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def population(setting: Mapping[str, Any]) -> str:
    """What a table of one population is about: the shape of its input."""
    return f"**x = [T, N], T = {setting['T']} steps of N = {setting['N']:,} neurons**"


def not_timed(found: Mapping[str, Any]) -> list[str]:
    """A paragraph for those without a row: wrong, or unable to run there; with the reasons."""
    said = (("refused", "Refused, so not timed"), ("skipped", "Not run"))
    return [
        f"{label}: {'; '.join(f'`{name}`: {why}' for name, why in found[kind].items())}."
        for kind, label in said
        if found.get(kind)
    ]


def machine(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['machine']}; torch {facts['torch']}, load {facts['load']} when it began, "
        f"commit {facts['commit']}."
    )


def setting(setting: Mapping[str, Any]) -> str:
    size = setting["image_size"]
    threads = setting.get("threads")
    said = [
        f"{setting['model']}, {size} x {size} pixels, batch {setting['batch']}, T = {setting['T']}",
        "" if threads is None else f"{threads} thread{'s' * (threads != 1)}",
        f"our kernels with {setting['isa']}" if setting.get("isa") else "",
        f"torch with {setting['torch_isa']}" if setting.get("torch_isa") else "",
        f"{setting['firing_rate']:.1%} of neurons fire at a step"
        if "firing_rate" in setting
        else "",
    ]
    return ", ".join(filter(None, said))


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def number(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def reached(reached: bool | None) -> str:
    return {True: "reached", False: "not reached", None: "not measured"}[reached]
