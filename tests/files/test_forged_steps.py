"""Forged programs, with the right digest: calls of what no file may name, and circles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.files.hostile import Forgery, Json, assert_refused, nothing_runs, snn, whole

__all__ = ["nothing_runs", "snn", "whole"]


def _step(network: Json, **changes: Any) -> None:
    """Change the last step, which is the head's addition or its like."""
    network["steps"][-1].update(changes)


def _nested(depth: int) -> Any:
    return 0 if depth == 0 else [_nested(depth - 1)]


FORGERIES: dict[str, Forgery] = {
    "a function of Python": (
        lambda n, t: _step(n, kind="function", target="os.system", args=["true"]),
        "'os.system' is no function that a file may name",
    ),
    "eval": (lambda n, t: _step(n, kind="function", target="builtins.eval"), "no function"),
    "a file": (lambda n, t: _step(n, kind="function", target="torch.load"), "no function"),
    "a module": (lambda n, t: _step(n, kind="function", target="torch"), "no function"),
    "an inner name": (
        lambda n, t: _step(n, kind="method", target="__class__"),
        "'__class__' is no method that a file may name",
    ),
    "a hook": (lambda n, t: _step(n, kind="method", target="register_hook"), "no method"),
    "an attribute": (
        lambda n, t: _step(
            n, kind="function", target="getattr", args=[{"ref": "input"}, "__globals__"]
        ),
        "reads no attribute that a file may name",
    ),
    "an attribute that is a list": (
        lambda n, t: _step(n, kind="function", target="getattr", args=[{"ref": "input"}, []]),
        "reads no attribute",
    ),
    "an attribute by name": (
        lambda n, t: _step(
            n, kind="function", target="getattr", args=[{"ref": "input"}], kwargs={"name": "data"}
        ),
        "reads no attribute",
    ),
    "an attribute of a string": (
        lambda n, t: _step(n, kind="function", target="getattr", args=["", "shape"]),
        "reads no attribute",
    ),
    "a method of a string": (
        lambda n, t: _step(n, kind="method", target="split", args=["a b"]),
        "must be one of a value",
    ),
    "a kind": (lambda n, t: _step(n, kind="import"), "'import' is no kind of step"),
    "a phase": (lambda n, t: _step(n, phase="before"), "'before' is no phase"),
    "another phase": (lambda n, t: _step(n, phase="static"), "its phase is readout, not static"),
    "a constant that is none": (lambda n, t: _step(n, phase="constant"), "it is no constant"),
    "a number for a name": (lambda n, t: _step(n, name=7), "7 is no name of a step"),
    "a dunder for a name": (lambda n, t: _step(n, name="__init__"), "no name of a step"),
    "a method of ModuleDict": (lambda n, t: _step(n, name="clear"), "no name of a step"),
    "a path for a name": (lambda n, t: _step(n, name="a.b"), "no name of a step"),
    "a name twice": (lambda n, t: _step(n, name=n["steps"][0]["name"]), "two steps have the name"),
    "a value of its own": (
        lambda n, t: _step(n, args=[{"ref": n["steps"][-1]["name"]}, 1]),
        "which is not there",
    ),
    "a circle": (
        lambda n, t: n["steps"][0].update(args=[{"ref": n["steps"][-1]["name"]}]),
        "which is not there",
    ),
    "an output that is not there": (
        lambda n, t: n["program"].update(output={"ref": "nowhere"}),
        "the output reads 'nowhere'",
    ),
    "a field too many": (lambda n, t: _step(n, code="print()"), "is no step"),
    "a negative shape": (lambda n, t: _step(n, shape=[-1]), "is no shape"),
    "a huge shape": (lambda n, t: _step(n, shape=[2**40, 2**40]), "is no shape"),
    "a huge input": (
        lambda n, t: n["program"]["inputs"][0].update(shape=[10**30]),
        "is no shape",
    ),
    "an input of another kind": (
        lambda n, t: n["program"]["inputs"][0].update(dtype={"dtype": "load"}),
        "'load' is no dtype of torch",
    ),
    "no inputs": (lambda n, t: n["program"].update(inputs=[]), "must have inputs"),
    "integers alone": (
        lambda n, t: n["program"]["inputs"][0].update(dtype={"dtype": "int64"}),
        "none of the inputs is floating-point",
    ),
    "a value of no kind": (
        lambda n, t: _step(n, args=[{"call": "os.system"}]),
        "'call' is no kind of value",
    ),
    "a dunder for a tuple": (
        lambda n, t: n["program"].update(output={"named": ["Out", ["__class__"], [1]]}),
        "is no name of a tuple's value",
    ),
    "code for a tuple": (
        lambda n, t: _step(n, kind="function", target=["Out", ["a=print()"]]),
        "is no name of a tuple's value",
    ),
    "a number for a tuple's names": (
        lambda n, t: _step(n, kind="function", target=["Out", 5]),
        "5 are no names of a tuple's values",
    ),
    "values nested too deep": (
        lambda n, t: _step(n, args=[_nested(40)]),
        "values are nested more than 32 deep",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(name: str, whole: bytes, tmp_path: Path) -> None:
    assert_refused(FORGERIES[name], whole, tmp_path)
