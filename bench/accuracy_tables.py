"""The accuracy report in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from accuracy_goals import GOALS, Goal
from cells import ARITHMETICS, Cell
from lookup import Results
from methods import CLAIM_STEPS, FREE_THRESHOLDS, TRAINED_THRESHOLDS, by_name
from published import PUBLISHED, Published
from scan import EXIT_METHOD, EXIT_T

NONE = "-"
_BEFORE = "steps before the readout"
_CLAIM = {"v_init 0": "/zero", "RTS shift": "/rts", "theta/2": "", "ours": "/ours"}


def report(
    results: Results,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
    pictures: Container[str] = (),
) -> str:
    """All tables.

    Args:
        results: what was measured.
        facts: the machine that writes it.
        settings: of the run.
        pictures: names of those that lie beside it.
    """
    seconds = sum(sum(cell.seconds.values()) for _, cell in results.cells)
    parts = [
        "# Accuracy",
        "Top-1 accuracy in percent after exactly T steps of a network converted for that T; T "
        "counts all steps, those before the readout too. Binary spikes unless a row says signed. "
        f"Calibrated on {_calibrated(results)}, which seed {results.seed} draws; "
        f"`{NONE}`: not measured (what shows the initial potential is so from T = 4 to 32), or the "
        "method needs more steps. `*`: on fewer than all test "
        "images; _in italics_: run by the integer program, `snn.fuse()`, not the simulation. Made "
        "by `python bench/accuracy.py`; [cells.jsonl](cells.jsonl) has every cell with its "
        "settings, arithmetic and seconds, and with its commit where one was known.",
        f"{facts['machine']}; torch {facts['torch']}, commit {facts['commit']}; "
        f"{len(results.cells)} cells, {seconds / 3600:.1f} hours; "
        + ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None),
    ]
    if table := goals(results):
        parts += ["## Goals", table]
    for network in results.networks:
        parts += ["", f"## {network.name}", _headline(results, network.name)]
        if not any(results.rows(network.name)):
            continue
        parts += [
            methods(results, network.name),
            *_initialisations(results, network.name),
            *_arithmetics(results, network.name),
            *_early_exit(results, network.name),
            *_linked(network.name, pictures),
        ]
    if "early-exit.png" in pictures:
        parts += ["## Early exit", "![early exit](early-exit.png)"]
    parts += ["## Published figures beside ours", published(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def goals(results: Results) -> str:
    """The goal table: measured / wanted, and whether it was reached; empty without goals."""
    names = {network.name for network in results.networks}
    ours = [goal for goal in GOALS if goal.network in names]
    if not ours:
        return ""
    steps = sorted({T for goal in ours for T in goal.wanted})
    rows = []
    for goal in ours:
        cells = [_goal_cell(results, goal, T) for T in steps]
        before = by_name(goal.method, results.methods).before_in_words()
        rows.append([goal.label, goal.network, goal.method, before, *cells])
    table = markdown(["", "network", "method", _BEFORE, *(f"T={T}" for T in steps)], rows)
    missed = [goal for goal, row in zip(ours, rows, strict=True) if "not reached" in str(row)]
    return "\n\n".join([table, *(f"{g.label}: {g.tried}" for g in missed if g.tried)])


def _goal_cell(results: Results, goal: Goal, T: int) -> str:
    if T not in goal.wanted:
        return ""
    wanted = goal.wanted[T]
    cell = results.cell(goal.network, goal.method, T)
    if cell is None:
        return f"{NONE} / {wanted:g}"
    verdict = "reached" if 100 * cell.accuracy >= wanted else "not reached"
    return f"{_percent(cell, results.all_images(goal.network))} / {wanted:g} {verdict}"


def _headline(results: Results, network: str) -> str:
    label = next(one.label for one in results.networks if one.name == network)
    ann, absent = results.ann(network), results.missing.get(network)
    accuracy = "" if ann is None else f" ANN {_percent(ann, results.all_images(network))}."
    said = _normalised(results, network)
    return f"{label}.{accuracy}{said}" + (f" {absent}" if absent else "")


def _normalised(results: Results, network: str) -> str:
    """How the images of a user's own network are, which nothing else here says."""
    given = results.loaded[network].given if network in results.loaded else {}
    parts = (f"{name} {', '.join(f'{x:g}' for x in given[name])}" for name in ("mean", "std"))
    return f" Images normalised with {' and '.join(parts)}." if given else ""


def methods(results: Results, network: str) -> str:
    """Accuracy of every method that was measured on a network, against T."""
    whole = results.all_images(network)
    rows = []
    for method in results.rows(network):
        cells = (results.cell(network, method.name, T) for T in results.steps)
        shown = [_percent(cell, whole) for cell in cells]
        rows.append([method.name, method.label, method.before_in_words(), *shown])
    head = ["method", "what it is", _BEFORE]
    return markdown([*head, *(f"T={T}" for T in results.steps)], rows)


def _calibrated(results: Results) -> str:
    """How many images networks are calibrated on, those named that are so on others than most."""
    found = {network.name: results.calibrated(network.name) for network in results.networks}
    counts = {name: count for name, count in found.items() if count is not None}
    if not counts:
        return "training images"
    usual = Counter(counts.values()).most_common(1)[0][0]
    others = [f"{name} on {count:,}" for name, count in counts.items() if count != usual]
    return f"{usual:,} training images" + "".join(f" ({name})" for name in others)


def _initialisations(results: Results, network: str) -> list[str]:
    """Each threshold under each initialisation, and the lift of theta/2 and of ours."""
    whole = results.all_images(network)
    rows = []
    for threshold in (*FREE_THRESHOLDS, *TRAINED_THRESHOLDS):
        for T in CLAIM_STEPS:
            cells = [results.cell(network, threshold + end, T) for end in _CLAIM.values()]
            if any(cells):
                zero, _, half, ours = cells
                lifts = [_lift(half, zero), _lift(ours, half)]
                before = by_name(threshold, results.methods).before_in_words()
                shown = (_percent(cell, whole) for cell in cells)
                rows.append([threshold, before, str(T), *shown, *lifts])
    head = ["threshold", _BEFORE, "T", *_CLAIM, "theta/2 over 0", "ours over theta/2"]
    return ["### What the initial potential lifts", markdown(head, rows)] if rows else []


def _lift(upper: Cell | None, lower: Cell | None) -> str:
    if upper is None or lower is None:
        return NONE
    return f"{100 * (upper.accuracy - lower.accuracy):+.2f}"


def _arithmetics(results: Results, network: str) -> list[str]:
    """What the integer program changes, where more than one arithmetic was measured."""
    found = {
        (method.name, T): {
            arithmetic: cell
            for arithmetic in ARITHMETICS
            if (cell := results.cell(network, method.name, T, [arithmetic])) is not None
        }
        for method in results.rows(network)
        for T in results.steps
    }
    found = {row: cells for row, cells in found.items() if len(cells) > 1}
    used = [one for one in ARITHMETICS if any(one in cells for cells in found.values())]
    whole = results.all_images(network)
    rows = [
        [name, str(T), *(_percent(cells.get(one), whole) for one in used)]
        for (name, T), cells in found.items()
    ]
    title = "### The integer program beside the simulation"
    return [title, markdown(["method", "T", *used], rows)] if rows else []


def _early_exit(results: Results, network: str) -> list[str]:
    cell = results.cell(network, EXIT_METHOD, EXIT_T)
    if cell is None or not cell.exit:
        return []
    curve = zip(cell.exit["confidences"], cell.exit["steps"], cell.exit["accuracies"], strict=True)
    before = str(cell.before)
    rows = [[f"{c:g}", before, f"{s:.2f}", f"{100 * a:.2f}"] for c, s, a in curve]
    rows.append(["never sure enough", before, f"{EXIT_T:.2f}", f"{100 * cell.accuracy:.2f}"])
    title = f"### Early exit, `{EXIT_METHOD}` at T = {EXIT_T}"
    return [title, markdown(["confidence", _BEFORE, "mean steps", "accuracy"], rows)]


def _linked(network: str, pictures: Container[str]) -> list[str]:
    found = {"accuracy against T": f"{network}.png", "errors by layer": f"{network}-layers.png"}
    return [f"![{what}]({name})" for what, name in found.items() if name in pictures]


def published(results: Results) -> str:
    """Figures of papers, and ours on networks of the same kind."""
    kinds = dict.fromkeys((row.dataset, row.family) for row in PUBLISHED)
    parts = []
    for dataset, family in kinds:
        rows = [
            _published_row(row, results.steps)
            for row in PUBLISHED
            if (row.dataset, row.family) == (dataset, family)
        ]
        for network in results.networks:
            if (network.dataset, network.family) == (dataset, family):
                rows += _our_rows(results, network.name)
        head = ["method", "ANN", *(f"T={T}" for T in results.steps), "T counts", "source"]
        parts += [f"### {dataset}, {family}", markdown(head, rows)]
    return "\n\n".join(parts)


def _published_row(row: Published, steps: Sequence[int]) -> list[str]:
    ann = NONE if row.ann is None else f"{row.ann:.2f}"
    figures = [f"{row.figures[T]:.2f}" if T in row.figures else NONE for T in steps]
    counted = "all steps" if not row.extra else f"not {row.extra} steps before the readout"
    doubt = "" if row.confirmed else " (from memory, not confirmed)"
    note = f"; {row.note}" if row.note else ""
    return [row.method, ann, *figures, counted, f"{row.source}{doubt}{note}"]


def _our_rows(results: Results, network: str) -> Iterable[list[str]]:
    ann, whole = results.ann(network), results.all_images(network)
    for method in ("opi", "best", "best-signed"):
        cells = [results.cell(network, method, T) for T in results.steps]
        if any(cells):
            figures = [_percent(cell, whole) for cell in cells]
            yield [f"**{network} {method}**", _percent(ann, whole), *figures, "all steps", "here"]


def _percent(cell: Cell | None, whole: int) -> str:
    if cell is None:
        return NONE
    italics = "" if cell.arithmetic == ARITHMETICS[0] else "_"
    return f"{italics}{100 * cell.accuracy:.2f}{italics}{'*' if cell.images < whole else ''}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right.

    >>> print(markdown(["a", "T=4"], [["x", "1.50"]]))
    | a | T=4 |
    |---|---:|
    | x | 1.50 |
    """
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    rule = "|".join("---:" if right else "---" for right in numeric)
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _is_number(text: str) -> bool:
    text = text.rstrip("*").strip("_")
    return text == NONE or text.lstrip("+-").replace(".", "", 1).isdigit()
