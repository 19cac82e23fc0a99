"""What the graph does to an example: the shape of every value, and whether images stay apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from spikeconv.convert.errors import ConversionError
from spikeconv.convert.trace import problem

_MIXES = (
    "it mixes the images of a batch, or fixes the batch size; time-steps are run as images of a "
    "larger batch, so every image must be treated for itself along dimension 0"
)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every value, or the error at the node that raised it."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        try:
            return super().run_node(n)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            modules = dict(self.module.named_modules())
            reason = f"it fails on a batch of the calibration data: {error}"
            raise ConversionError([problem(n, modules, reason)]) from error


def _same_image(batch: Any, single: Any) -> bool:
    """Whether the first image of a value of two images is the value of that image alone."""
    if isinstance(batch, Tensor):
        if batch.dim() == 0 or batch.shape[0] != 2 or single.shape[1:] != batch.shape[1:]:
            return False
        if single.shape[0] != 1:
            return False
        return torch.allclose(batch[:1].float(), single.float(), rtol=1e-2, atol=1e-3)
    if isinstance(batch, tuple | list) and batch and isinstance(batch[0], Tensor):
        return len(batch) == len(single) and all(map(_same_image, batch, single))
    return True


def examine(traced: fx.GraphModule, image: Tensor) -> None:
    """Run one image `[1, ...]` and a batch of two; note shapes in ``meta["shape"]``.

    Nodes that do not depend on the input get ``meta["constant"] = True``.

    Raises:
        ConversionError: the network fails on the image, or a call mixes images.
    """
    modules = dict(traced.named_modules())
    batch = torch.cat([image, image.flip(-1) * 0.5])
    with torch.no_grad():
        single, double = _Recorder(traced), _Recorder(traced)
        single.run(image)
        double.run(batch)
    problems = []
    culprits: set[fx.Node] = set()
    for node in traced.graph.nodes:
        inputs = node.all_input_nodes
        node.meta["constant"] = node.op == "get_attr" or (
            node.op.startswith("call") and all(n.meta["constant"] for n in inputs)
        )
        if node.op == "output":
            continue
        value = double.env[node]
        if isinstance(value, Tensor):
            node.meta["shape"] = tuple(value.shape)
        elif isinstance(value, tuple | list) and any(isinstance(v, Tensor) for v in value):
            node.meta["tensors"] = True
        if node.meta["constant"] or culprits & set(inputs):
            culprits |= {node} if culprits & set(inputs) else set()
            continue
        if node.op != "placeholder" and not _same_image(value, single.env[node]):
            culprits.add(node)
            problems.append(problem(node, modules, _MIXES))
    if problems:
        raise ConversionError(problems)
