"""Sums, products with constants and signs, as nodes of NIR."""

from __future__ import annotations

from spikeconv.network.program import Ref, Step
from spikeconv.nir_io.graph import Graph, Inexpressible, Value, first


def total(graph: Graph, step: Step) -> Value:
    """An addition or a subtraction of two values."""
    name = getattr(step.target, "__name__", step.target)
    if step.kwargs or len(step.args) != 2:
        raise Inexpressible("NIR adds two values as they are")
    if any(not isinstance(arg, Ref) or graph.constant(arg) is not None for arg in step.args):
        raise Inexpressible("NIR has no node that adds a constant")
    left, right = (graph.read(arg) for arg in step.args)
    if left.shape != step.shape or right.shape != step.shape:
        raise Inexpressible(f"NIR adds values of one shape, not {left.shape} and {right.shape}")
    if str(name).startswith("sub"):
        right = graph.scaled(f"{step.name}_minus", right, -1)
    elif set(left.sources) & set(right.sources):  # an edge cannot be there twice
        right = graph.scaled(f"{step.name}_again", right, 1)
    problems = (*left.problems, *right.problems)
    return Value((*left.sources, *right.sources), step.shape, tuple(dict.fromkeys(problems)))


def product(graph: Graph, step: Step) -> Value:
    """A value times, or divided by, a constant."""
    if step.kwargs or len(step.args) != 2:
        raise Inexpressible("NIR multiplies a value with a constant")
    divides = "div" in str(getattr(step.target, "__name__", step.target))
    factors = [graph.constant(arg) for arg in step.args]
    which = 0 if factors[1] is not None else 1
    factor = factors[1 - which]
    if factor is None or (divides and which == 1):
        raise Inexpressible("NIR multiplies with constants only")
    x = graph.read(step.args[which])
    # Without the batch's dimension, which a constant may have as one of size 1.
    factor = factor.reshape(factor.shape[max(0, factor.dim() - len(x.shape)) :])
    if x.shape != step.shape:
        raise Inexpressible(f"NIR multiplies without broadcasting {list(x.shape)}")
    return graph.scaled(step.name, x, 1 / factor if divides else factor)


def negative(graph: Graph, step: Step) -> Value:
    """A change of sign."""
    return graph.scaled(step.name, first(graph, step), -1)
