"""A NIR graph as a spiking network: our own as it was, others by what their nodes say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from spikeconv.files.file import parsed
from spikeconv.files.load import assembled
from spikeconv.files.malformed import Malformed
from spikeconv.files.rebuild import rebuild
from spikeconv.files.values import short
from spikeconv.network.network import SpikingNetwork
from spikeconv.network.timing import check_steps
from spikeconv.nir_io.export import METADATA, graph_of
from spikeconv.nir_io.foreign import foreign_network
from spikeconv.nir_io.library import as_tensor, import_nir

_FIELDS = {"description", "held", "tensors"}
_CHANGED = "; metadata=False reads what its nodes say, by NIR's semantics"


def from_nir(graph: Any, T: int | None = None, *, metadata: bool = True) -> SpikingNetwork:
    """Make a spiking network of a NIR graph.

    A graph that `to_nir` has written gives the same network again: the same class, report and bits.
    Nothing in it is trusted or run, as in `spikeconv.load`.

    Of any other graph, a step is one unit of NIR's time and the input the same current at every
    step; the output is the mean of the output nodes over T steps. Nodes become:

    - ``IF``: v += r * current, from 0; a spike of 1 where v > v_threshold; then v_reset, where
      this version of nir has it, else v -= v_threshold.
    - ``Conv1d``, ``Conv2d``, ``Affine`` and ``Linear`` of vectors, ``AvgPool2d``, ``SumPool2d``,
      ``Flatten``, ``Scale``: what they say, in float32. Several edges into a node add.

    Args:
        graph: a ``nir.NIRGraph``, as ``nir.read(path)`` gives it.
        T: time-steps of a call that does not say, 1 or more; None: as the graph says, else 16.
        metadata: False takes the second way for the graphs of `to_nir`, too.

    Returns:
        The network, on the CPU. Of several output nodes it gives a dict by their names.

    Raises:
        ValueError: the graph has nodes of other kinds, named with their kinds, or a loop; or it is
            damaged, or its nodes were changed since `to_nir` wrote it.
        TypeError: an argument of a wrong type.
        ImportError: nir is not installed.
    """
    nir = import_nir("from_nir")
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(f"from_nir: graph must be a nir.NIRGraph, got {type(graph).__name__}")
    if T is not None:
        T = check_steps("from_nir", "T", T)
    own = graph.metadata.get(METADATA) if isinstance(graph.metadata, Mapping) else None
    try:
        if own is None or not metadata:
            return foreign_network(graph, nir, 16 if T is None else T)
        network = _own(graph, own, nir)
    except Malformed as error:
        raise ValueError(f"from_nir: {error}") from error
    if T is not None:
        network.T = T
    return network


def _own(graph: Any, content: Any, nir: Any) -> SpikingNetwork:
    """The network that `to_nir` has written, if the graph still is what it has written."""
    if not isinstance(content, Mapping) or not set(content) >= _FIELDS:
        raise Malformed(f"its metadata of spikeconv has {short(content)}{_CHANGED}")
    try:
        held = json.loads(content["held"])
    except (TypeError, ValueError, RecursionError) as error:
        raise Malformed(f"its metadata of spikeconv is no JSON ({error})") from error
    given = content["tensors"]
    named = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
    if not isinstance(held, dict) or not named:
        raise Malformed(f"its metadata of spikeconv holds no tensors{_CHANGED}")
    tensors = {name: _tensor(array) for name, array in given.items()}
    for name, place in held.items():
        texts = isinstance(place, list) and all(isinstance(part, str) for part in place)
        if not texts or len(place) != 2 or place[0] not in graph.nodes:
            raise Malformed(f"the node of {short(name)} is missing{_CHANGED}")
        tensors[name] = _tensor(getattr(graph.nodes[place[0]], place[1], None))
    if not isinstance(content["description"], str):
        raise Malformed(f"its metadata of spikeconv has no description{_CHANGED}")
    try:
        network = assembled(rebuild(parsed(content["description"], tensors), tensors))
    except Malformed as error:
        raise Malformed(f"{error}{_CHANGED}") from error
    different = _difference(graph_of(network, nir), graph)
    if different:
        raise Malformed(f"{different} is not as spikeconv wrote it{_CHANGED}")
    return network


def _tensor(array: Any) -> Tensor:
    try:
        return as_tensor(array)
    except (TypeError, ValueError) as error:
        raise Malformed(f"its metadata of spikeconv holds {short(array)} for a tensor") from error


def _difference(wanted: Any, graph: Any) -> str:
    """What of a graph's nodes and edges is not as in another one; nothing where all is."""
    if {tuple(edge) for edge in wanted.edges} != {tuple(edge) for edge in graph.edges}:
        return "its wiring"
    if wanted.nodes.keys() != graph.nodes.keys():
        return "the set of its nodes"
    for name, node in wanted.nodes.items():
        other = graph.nodes[name]
        if type(other) is not type(node):
            return f"node {name!r}"
        one, two = node.to_dict(), other.to_dict()
        for field in one.keys() - {"metadata"}:
            if not _equal(one[field], two.get(field)):
                return f"{field} of node {name!r}"
    return ""


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, str) or isinstance(two, str) or one is None or two is None:
        return bool(one == two)
    return np.array_equal(np.asarray(one), np.asarray(two))
