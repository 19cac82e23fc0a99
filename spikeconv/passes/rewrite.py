"""What the passes that rewrite a graph share."""

from __future__ import annotations

import itertools
from typing import Any

from torch import fx, nn

from spikeconv.passes import kinds
from spikeconv.passes.trace import spelling


def modules_of(traced: fx.GraphModule) -> dict[str, nn.Module]:
    """The layers by their names, those that were added by a rewrite too."""
    return dict(traced.named_modules())


def call_new_module(traced: fx.GraphModule, node: fx.Node, x: fx.Node, module: nn.Module) -> None:
    """Make `node` the call `module(x)` of a layer of its own."""
    taken = modules_of(traced)
    name = next(n for i in itertools.count() if (n := f"{node.name}_layer{i or ''}") not in taken)
    traced.add_submodule(name, module)
    node.op, node.target, node.args, node.kwargs = "call_module", name, (x,), {}


def name_call_site(node: fx.Node, modules: dict[str, nn.Module]) -> None:
    """A function's or method's call, soon a module's, gets a path: its owner's and its own name."""
    own = spelling(node, modules).rpartition(".")[2]
    owner = node.meta["path"]
    node.meta["path"] = f"{owner}.{own}" if owner else own


def first(node: fx.Node) -> Any:
    """The operand that a call of one operand reads."""
    return kinds.argument(node, 0, "input")
