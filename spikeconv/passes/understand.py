"""Whether every call of a normalised graph has a spiking form; if not, all that have none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import fx

from spikeconv.network.program import Phase
from spikeconv.passes.errors import ConversionError, Problem
from spikeconv.passes.phases import kind_of, phases_of
from spikeconv.passes.refusals import refusal
from spikeconv.passes.trace import problem

# False, True, or the paths and operations that are to stay as they are.
Analog: TypeAlias = bool | Collection[str]

_NO_RECTIFIER = (
    "there is no ReLU in it, so there is nothing to turn into spikes; its output is linear in its "
    "input already"
)
_ONLY_ANALOG = "there is no ReLU in it, so there is nothing to turn into spikes"
_BETWEEN = "; it cannot be kept analog, as spikes go in and a neuron reads what comes out"
_PLACES = {Phase.STATIC: "before the first neuron", Phase.READOUT: "after the last neuron"}


def check_analog(analog: Analog) -> None:
    """Raise TypeError where `analog` is neither a bool nor a collection of strings."""
    if isinstance(analog, bool):
        return
    if isinstance(analog, str | bytes) or not isinstance(analog, Collection):
        raise TypeError(
            "convert: analog must be True, False or a collection of module paths and operations, "
            f"such as ['head.softmax'], got {analog!r}"
        )
    for name in analog:
        if not isinstance(name, str):
            raise TypeError(f"convert: analog must hold strings, got {name!r}")


def understand(
    traced: fx.GraphModule, found: Sequence[Problem] = (), analog: Analog = False
) -> None:
    """Raise one ConversionError that names every call without a spiking form, and all `found`.

    Where `analog` asks for it and no spikes pass through the call, it is kept as it is and marked
    in its node's meta as ``analog``.

    Raises:
        ConversionError: with every problem.
        ValueError: analog names what the network does not have.
    """
    modules = dict(traced.named_modules())
    phases = phases_of(traced.graph, modules)
    spikes = any(kind_of(node, modules)[0] == "neuron" for node in traced.graph.nodes)
    problems = list(found)
    known: set[str] = set()
    told: dict[fx.Node, set[bool]] = {}
    between = {_original(n) for n in traced.graph.nodes if phases[n] not in _PLACES}
    for node in traced.graph.nodes:
        refused = refusal(node, modules, phases)
        if refused is None:
            continue
        at = problem(node, modules, refused.reason)
        asked = analog if isinstance(analog, bool) else bool({at.path, at.operation} & {*analog})
        known |= {at.path, at.operation}
        place = _PLACES.get(phases[node]) if refused.keepable else None
        keeps = asked and place is not None
        # A call that was copied for each of its readers is one thing to a user.
        before = told.setdefault(_original(node), set())
        again = keeps in before
        before.add(keeps)
        if keeps:
            node.meta["analog"] = "" if again else at.operation
            _write_out_of_place(traced, node)
            continue
        if again:
            continue
        if refused.keepable and asked:
            at = replace(at, reason=at.reason + _BETWEEN)
        elif place is not None and spikes and _original(node) not in between:
            hint = f"; it stands {place}, so analog={_request(at)} keeps it as it is"
            at = replace(at, reason=at.reason + hint)
        problems.append(at)
    if not problems and not spikes:
        kept = any(node.meta.get("analog") for node in traced.graph.nodes)
        problems.append(Problem("", "forward", "", _ONLY_ANALOG if kept else _NO_RECTIFIER))
    if problems:
        raise ConversionError(problems)
    if not isinstance(analog, bool) and (unknown := sorted({*analog} - known)):
        there = ", ".join(map(repr, sorted(known - {""})))
        raise ValueError(
            f"convert: analog names {', '.join(map(repr, unknown))}, but "
            + (
                f"every operation without a spiking form is one of {there}"
                if there
                else "every operation of this network has a spiking form; leave analog out"
            )
        )


def _original(node: fx.Node) -> fx.Node:
    """The call that a user wrote, of which a node may be a copy."""
    original: fx.Node = node.meta.get("copy_of", node)
    return original


def _request(at: Problem) -> str:
    """What to pass for one operation: a layer's path says it alone, a function's name must do."""
    is_layer = "." not in at.operation and at.path
    return repr([at.path if is_layer else at.operation])


def _write_out_of_place(traced: fx.GraphModule, node: fx.Node) -> None:
    """Let a call that is kept write into a copy: what it read may be the caller's image."""
    for operand in set(node.all_input_nodes) & set(node.meta.get("overwrites", ())):
        with traced.graph.inserting_before(node):
            copy = traced.graph.call_function(torch.clone, (operand,))
        copy.meta.update(operand.meta)
        node.replace_input_with(operand, copy)
