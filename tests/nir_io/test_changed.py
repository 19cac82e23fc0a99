"""A graph of ours that was changed, by a tool or by a stranger, is never half believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spikeconv
from spikeconv.files.file import dumped
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted
from tests.nir_io.test_own import needs_nir, nir, quiet, through_a_file

__all__ = ["nir"]


def _weights(graph: Any) -> None:
    graph.nodes["c1"].weight[0] += 1


def _threshold(graph: Any) -> None:
    graph.nodes["relu"].v_threshold[0] *= 2


def _edge(graph: Any) -> None:
    graph.edges.append(("input", "relu"))


def _node(graph: Any) -> None:
    graph.nodes["more"] = graph.nodes["input"]


def _stride(graph: Any) -> None:
    graph.nodes["c2"].stride = (2, 2)


@needs_nir
@quiet
@pytest.mark.parametrize(
    ("change", "says"),
    (
        (_weights, "the digest is that of other content"),
        (_threshold, "v_threshold of node 'relu' is not as spikeconv wrote it"),
        (_edge, "its wiring is not as spikeconv wrote it"),
        (_node, "the set of its nodes is not"),
        (_stride, "stride of node 'c2' is not"),
        (lambda g: g.nodes.pop("c1"), "the node of 'layers.c1.weight' is missing"),
        (lambda g: g.metadata["spikeconv"].pop("held"), "its metadata of spikeconv has"),
        (lambda g: g.metadata["spikeconv"].update(held="{"), "is no JSON"),
        (lambda g: g.metadata["spikeconv"].update(held="[]"), "holds no tensors"),
        (
            lambda g: g.metadata["spikeconv"].update(held='{"a": [[], 1]}'),
            "the node of 'a' is missing",
        ),
        (
            lambda g: g.metadata["spikeconv"]["tensors"].update({7: np.zeros(1)}),
            "holds no tensors",
        ),
        (lambda g: g.metadata["spikeconv"].update(description=7), "has no description"),
        (lambda g: g.metadata["spikeconv"]["tensors"].clear(), "the digest is that of other"),
        (
            lambda g: g.metadata["spikeconv"]["tensors"].update(x=object()),
            "holds <object object",
        ),
    ),
)
def test_a_graph_that_was_changed(change: Any, says: str, nir: Any, tmp_path: Path) -> None:
    """By a tool that does not know the metadata, or on the way: it is never half believed."""
    graph = through_a_file(converted(NETWORKS["plain"](), T=3), nir, tmp_path)
    change(graph)
    with pytest.raises(ValueError, match=r"^from_nir: ") as caught:
        spikeconv.from_nir(graph)
    assert says in str(caught.value)


@needs_nir
@quiet
def test_forged_metadata(nir: Any, tmp_path: Path) -> None:
    """With the right digest, it is held to the same rules as a file."""
    graph = through_a_file(converted(NETWORKS["plain"](), T=3), nir, tmp_path)
    own = graph.metadata["spikeconv"]
    network = json.loads(own["description"])["network"]
    network["steps"][-1].update(kind="function", target="os.system", args=["true"])
    held = json.loads(own["held"])
    tensors = {name: torch.from_numpy(np.array(v)) for name, v in own["tensors"].items()}
    for key, (node, field) in held.items():
        tensors[key] = torch.from_numpy(getattr(graph.nodes[node], field))
    own["description"] = dumped(network, tensors)
    with pytest.raises(ValueError, match=r"'os.system' is no function that a file may name"):
        spikeconv.from_nir(graph)
