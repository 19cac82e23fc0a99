"""Imports point one way, from the command line down to the kernels, and never in a circle."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module imports from its own layer and from those after it; a package stands for all in it.
LAYERS = (
    ("spikeconv.__main__", "spikeconv.cli"),
    ("spikeconv.demo", "spikeconv.environment", "spikeconv.evaluate"),
    ("spikeconv",),  # the public names
    (
        "spikeconv.data",
        "spikeconv.files.load",
        "spikeconv.labelled",
        "spikeconv.metrics",
        "spikeconv.models",
        "spikeconv.nir_io",
        "spikeconv.plot",
        "spikeconv.train",
    ),
    ("spikeconv.convert",),
    ("spikeconv.passes",),
    ("spikeconv.drop_in", "spikeconv.files", "spikeconv.fuse", "spikeconv.network"),
    ("spikeconv.calibrate",),
    (
        "spikeconv.activation",
        "spikeconv.changes",
        "spikeconv.early_exit",
        "spikeconv.membrane",
        "spikeconv.neuron",
        "spikeconv.node_arguments",
        "spikeconv.spike_function",
        "spikeconv.timed_bias",
    ),
    ("spikeconv.ops",),
    ("spikeconv.kernels",),
    (
        "spikeconv.allocator",
        "spikeconv.output",
        "spikeconv.precision",
        "spikeconv.processes",
        "spikeconv.surrogate",
    ),
)

# What is installed along; everything else is imported where it is used, and may be missing.
ALWAYS_THERE = {*sys.stdlib_module_names, "numpy", "spikeconv", "torch", "tqdm"}

# What stands for another library is imported once that library is.
OF_A_LIBRARY = {
    f"spikeconv.drop_in.{library}": library
    for library in ("norse", "sinabs", "snntorch", "spikingjelly")
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name; kernels/ is installed as spikeconv.kernels."""
    found = {}
    for folder in ("spikeconv", "kernels"):
        package = "spikeconv" if folder == "spikeconv" else "spikeconv.kernels"
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


def imported(module: str, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of what the import statements among the nodes import."""
    is_package = modules()[module].name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if submodule in modules() else base


def on_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: not what is inside functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from on_import(child)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def edges(module: str) -> frozenset[str]:
    """Modules of this package that a module imports, anywhere in its text."""
    return frozenset(imported(module, ast.walk(tree(module)))) & modules().keys() - {module}


def layer(module: str) -> int:
    """Position in LAYERS of the longest name that is the module or a package around it."""
    names = {name: i for i, members in enumerate(LAYERS) for name in members}
    while module not in names and module.count(".") > 1:
        module = module.rpartition(".")[0]
    assert module in names, f"{module} is new: say in LAYERS where it stands"
    return names[module]


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down(module: str) -> None:
    upward = [name for name in edges(module) if layer(name) < layer(module)]
    assert not upward, f"{module} imports from above it: {upward}"


def test_no_circles() -> None:
    try:
        TopologicalSorter({module: edges(module) for module in modules()}).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if ".kernels" in name])
def test_kernels_know_nothing_of_the_package(module: str) -> None:
    outside = {name for name in edges(module) if not name.startswith("spikeconv.kernels")}
    assert not outside
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "spikeconv" not in ast.unparse(node), "kernels import each other relatively"


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if ".kernels" not in name])
def test_importing_needs_only_what_is_installed_along(module: str) -> None:
    for name in imported(module, on_import(tree(module))):
        there = {*ALWAYS_THERE, OF_A_LIBRARY.get(module)}
        assert name.partition(".")[0] in there, f"{module} cannot be imported without {name}"


def test_what_stands_for_a_library_is_imported_where_it_is_used_only() -> None:
    assert OF_A_LIBRARY.keys() <= modules().keys()
    for module in modules().keys() - OF_A_LIBRARY.keys():
        assert not edges(module) & OF_A_LIBRARY.keys(), module


def test_only_ops_names_the_operators() -> None:
    for module, path in modules().items():
        if not module.startswith("spikeconv.ops"):
            text = path.read_text(encoding="utf-8")
            assert "spikeconv::" not in text, module
            assert "torch.ops.spikeconv" not in text, module
            assert "torch.classes.spikeconv" not in text, module


def test_the_walk_sees_every_kind_of_import() -> None:
    # A checker that finds nothing would let everything pass.
    assert "spikeconv.ops.check" in edges("spikeconv.ops.schema")
    assert "spikeconv.ops.native" in edges("spikeconv.ops.backends")  # from package import module
    assert "spikeconv.kernels.if_multistep" in edges("spikeconv.ops.triton")  # in a function
    assert "spikeconv.kernels.launch" in edges("spikeconv.kernels.if_multistep")  # relative
    assert layer("spikeconv.cli") < layer("spikeconv") < layer("spikeconv.ops.check")
