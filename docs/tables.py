"""The tables of results.md, made of the measurements in bench/results.

    python docs/tables.py

writes them between their marks, `<!-- table NAME -->` and `<!-- end -->`; a test sees to it that
they are up to date. Nothing else of the page is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parts import machine, not_timed, number, percent, population, ratio, reached, setting, table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "results.md"

_MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ALL_IMAGES = 10_000
_STEPS = (1, 2, 4, 8, 16, 32, 64)


def rewritten(page: str) -> str:
    """The page with its tables made anew."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]().strip()}\n\n{m[3]}", page)


def shared_resnet20() -> str:
    """Initial potentials, signed neurons and the default, on the network that others trained."""
    methods = _accuracy()["resnet20-shared"]["methods"]
    steps, rows = (4, 8, 16, 32), []
    for what, kind in (
        ('`v_init="zero"`', "zero"),
        ('`method="opi"`: v_init = theta / 2', "half"),
        ("the same, `signed=True`", "signed"),
    ):
        runs = _evaluated(kind)
        rows.append([what, *(percent(runs.get(T)) for T in steps)])
    for what, method in (
        ('`method="best"`, the default', "best"),
        ("the same, `signed=True`", "best-signed"),
    ):
        cells = methods[method]
        rows.append([what, *(_in_italics_if_fused(cells.get(str(T))) for T in steps)])
    ann = percent(_accuracy()["resnet20-shared"]["ann"])
    first = f"ANN {ann}; 0 steps before the readout"
    return table([first, "T = 4", "T = 8", "T = 16", "T = 32"], rows)


def accuracy() -> str:
    """Every network and method of bench/accuracy.py on CIFAR-10, with what it costs to convert."""
    rows = []
    for network in _accuracy().values():
        if network.get("dataset") != "cifar10":  # of another one, or never measured
            continue
        for name, cells in network["methods"].items():
            shown = [_in_italics_if_fused(cells.get(str(T))) for T in _STEPS]
            before = _span([cell["before_readout"] for cell in cells.values()])
            seconds = _span([cell["seconds"]["convert"] for cell in cells.values()])
            first = [network["label"], f"`{name}`", before, percent(network["ann"])]
            rows.append([*first, *shown, seconds])
    head = ["network", "method", "of T before the readout", "ANN", *(f"T={T}" for T in _STEPS)]
    said = "In italics: by the integer program, `snn.fuse()`; all others by the simulation."
    return f"{table([*head, 'seconds to convert'], rows)}\n\n{said}"


def _span(values: list[float]) -> str:
    """The least and the largest of them."""
    ends = f"{min(values):.0f}", f"{max(values):.0f}"
    return " - ".join(dict.fromkeys(ends))


def neurons() -> str:
    """One population, beside a copy of its input."""
    parts = []
    for path in _files("kernels"):
        content = json.loads(path.read_text())
        dtypes = list(dict.fromkeys(row["dtype"] for row in content["rows"]))
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for row in content["rows"]:
            figure = f"{number(row['ns_per_element'])} ({row['times_clone']:.2f})"
            cells.setdefault((row["name"], row["emit"]), {})[row["dtype"]] = figure
        rows = [[f"`{n}`", e, *(c.get(d, "-") for d in dtypes)] for (n, e), c in cells.items()]
        parts += [population(content["setting"]), table(["", "emits", *dtypes], rows)]
        parts += [*not_timed(content), machine(content["machine"])]
    return _or_missing(parts, "bench/kernels.py")


def throughput() -> str:
    """Whole networks, in every setting that was measured, and the goals."""
    parts = []
    for path in _files("throughput"):
        content = json.loads(path.read_text())
        for one in content.get("tables", [content]):
            rows = [
                [
                    f"`{row['name']}`",
                    number(row["images_per_s"]),
                    number(row["ms"]),
                    "-" if row["times_ann"] is None else f"{row['times_ann']:.2f}",
                    "-" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
                ]
                for row in one["rows"]
            ]
            head = ["", "images/s", "ms a batch", "times one ANN pass", "peak MB"]
            parts += [f"**{setting(one['setting'])}**", table(head, rows), *not_timed(one)]
        if content.get("goals"):
            rows = [
                [g["goal"], f"{g['least']:.2f}", ratio(g["ratio"]), reached(g["reached"])]
                for g in content["goals"]
            ]
            parts.append(table(["goal, as a ratio", "wanted", "measured", ""], rows))
        if (plot := path.with_suffix(".svg")).exists():
            where = plot.relative_to(ROOT).as_posix()
            parts.append(f"![milliseconds of a call by T and by batch](../{where})")
        parts.append(machine(content["machine"]))
    return _or_missing(parts, "bench/throughput.py")


def drop_in() -> str:
    """Layers and networks of other libraries, before and after."""
    parts = []
    for path in _files("drop"):
        content = json.loads(path.read_text())
        rows = [
            [
                row["library"],
                row["layer"],
                row["mode"],
                f"{row['neurons']:,}",
                number(row["before_ms"]),
                number(row["after_ms"]),
                f"{row['faster']:.2f}",
            ]
            for row in content["rows"]
        ]
        head = ["library", "layer", "mode", "neurons", "before, ms", "after, ms", "times as fast"]
        parts += [f"**T = {content['setting']['T']}**", table(head, rows)]
        parts += [*not_timed(content), machine(content["machine"])]
    return _or_missing(parts, "bench/drop_in.py")


def training() -> str:
    """Forwards and back through one population, and what is kept between."""
    parts = []
    for path in _files("backward"):
        content = json.loads(path.read_text())
        rows = [
            [
                f"`{row['name']}`",
                row["dtype"],
                row["reset"],
                number(row["ns_per_element"]),
                f"{row['times_clone']:.2f}",
                _kept(row),
            ]
            for row in content["rows"]
        ]
        head = ["", "dtype", "reset", "ns an element", "times a copy", "bytes kept beside x"]
        parts += [population(content["setting"]), table(head, rows)]
        parts += [*not_timed(content), machine(content["machine"])]
    return _or_missing(parts, "bench/backward.py")


def gpu_layers() -> str:
    """Layers of the integer program on a GPU: ours, and cuDNN's convolution alone."""
    parts = []
    for path in _files("gpu-layers"):
        content = json.loads(path.read_text())
        layers: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in content["rows"]:
            layers.setdefault(row["layer"], {})[row["name"]] = row
        peaks = json.loads((path.parent / "peaks.json").read_text())["rows"]
        peak = next(row["rate"] for row in peaks if row["name"] == "matmul int8")
        rows = []
        for layer, found in layers.items():
            rate = found["spikeconv-int8"]["top_per_s"]
            names = ("spikeconv-int8", "spikeconv-bf16", "cudnn-tf32", "cudnn-bf16")
            times = [number(found[name]["ms"]) for name in names]
            rows.append([layer, f"{rate:.0f}", f"{rate / peak:.2f}", *times])
        head = ["layer", "Top/s of int8", "of the peak", "int8, ms", "bf16, ms", "cuDNN TF32, ms"]
        parts += [table([*head, "cuDNN bf16, ms"], rows), f"Int8 peak: {peak:.0f} Top/s."]
        parts += [*not_timed(content), machine(content["machine"])]
    return _or_missing(parts, "bench/gpu_layers.py")


def gpu_networks() -> str:
    """Milliseconds of a batch of whole networks on a GPU: a column for each setting."""
    parts = []
    for path in _files("gpu-networks"):
        content = json.loads(path.read_text())
        found = content["tables"]
        names = list(dict.fromkeys(row["name"] for one in found.values() for row in one["rows"]))
        cells = {
            key: {row["name"]: number(row["ms"]) for row in one["rows"]}
            for key, one in found.items()
        }
        rows = [[f"`{name}`", *(cells[key].get(name, "-") for key in found)] for name in names]
        parts.append(table(["ms a batch", *found], rows))
        parts += [f"{key}: {said}" for key, one in found.items() for said in not_timed(one)]
        parts.append(machine(content["machine"]))
    return _or_missing(parts, "bench/gpu_networks.py")


def _kept(row: Mapping[str, Any]) -> str:
    """Bytes an element that are kept for the backward pass; a copy keeps none."""
    kept = row.get("saved_beside_x")
    return "-" if kept is None else f"{kept:.1f}"


TABLES: Mapping[str, Callable[[], str]] = {
    "shared-resnet20": shared_resnet20,
    "accuracy": accuracy,
    "neurons": neurons,
    "throughput": throughput,
    "drop-in": drop_in,
    "training": training,
    "gpu-layers": gpu_layers,
    "gpu-networks": gpu_networks,
}


def _accuracy() -> dict[str, Any]:
    content = json.loads((RESULTS / "accuracy" / "accuracy.json").read_text())
    networks: dict[str, Any] = content["networks"]
    return networks


def _in_italics_if_fused(cell: Mapping[str, Any] | None) -> str:
    """A cell of the accuracy table, if it was measured on all images."""
    if cell is None or cell["images"] != _ALL_IMAGES:
        return "-"
    italics = "" if cell["arithmetic"] == "float32" else "_"
    return f"{italics}{percent(cell['accuracy'])}{italics}"


def _evaluated(kind: str) -> dict[int, float]:
    """Accuracy by T of the runs of `spikeconv evaluate` of that kind."""
    found = {}
    for path in RESULTS.glob(f"*/cifar10-resnet20-{kind}-T*.json"):
        content = json.loads(path.read_text())
        found[content["T"]] = content["snn"][-1]
    return found


def _files(stem: str) -> list[Path]:
    return sorted(RESULTS.glob(f"*/{stem}*.json"))


def _or_missing(parts: Sequence[str], script: str) -> str:
    return "\n\n".join(parts) or f"Not measured yet: `python {script}` does it."


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
