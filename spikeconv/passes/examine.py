"""What the graph does to an example: shapes, whether images stay apart, what is overwritten."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import Parameter

from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate.inputs import Batch, batch_of, tensors_of
from spikeconv.network.structure import holds_tensors, tensors
from spikeconv.passes.errors import ConversionError, Problem
from spikeconv.passes.example import copies
from spikeconv.passes.kinds import cuts_batch, is_product, is_sum
from spikeconv.passes.other_counts import Examples, other_count
from spikeconv.passes.sizes import Reads
from spikeconv.passes.trace import problem

_OVERLAPS = (
    "it writes into a part or a view of a value that is read again later; write out of place "
    "(inplace=False, or the call without its last underscore)"
)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every value, its shape, and what every call wrote into."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.extra_traceback = False
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.overwritten: dict[fx.Node, fx.Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        inputs = n.all_input_nodes
        before = [_versions(self.env[node]) for node in inputs]
        try:
            value = super().run_node(n)
        except Exception as error:
            modules = dict(self.module.named_modules())
            given = (self.shapes[node] for node in self.env if node.op == "placeholder")
            shapes = ", ".join(str(list(shape[1:])) for shape in given)
            reason = (
                f"it fails on images {shapes} of the calibration data, batches of [B, *]: {error}"
            )
            raise ConversionError([problem(n, modules, reason)]) from error
        for node, versions in zip(inputs, before, strict=True):
            if _versions(self.env[node]) != versions:
                self.overwritten.setdefault(n, node)
        if isinstance(value, Tensor):
            self.shapes[n] = tuple(value.shape)
        return value


def examine(traced: fx.GraphModule, batch: Batch) -> list[Problem]:
    """Run two images, each for itself and both; note what they show in every node's meta.

    - ``shape``: of the batch's value, where it is a tensor; ``tensors``: it is a tuple of some,
      ``sizes``: of numbers.
    - ``dtype`` of the same; ``constant``: it does not depend on the input; ``number``: nor does it
      vary; ``parameter``: and it is a parameter.
    - ``value``: made by sizes alone, and the same for every image; it is ``constant``, too.
    - ``mixes``: an image's value depends on the other image, or the batch size is fixed.
    - ``resolution``: of the coarsest dtype that a value has passed through; the graph's meta has
      the coarsest of all.
    - ``overwrites``: the nodes whose value the call overwrites.

    Returns:
        The calls whose writing in place cannot be undone.

    Raises:
        ConversionError: the network fails on the images.
    """
    first, second, double = _run_apart(traced, batch)
    exact: Mapping[str, bool] | None = None
    examples = {node: (first.env[node], value) for node, value in double.env.items()}
    for node in traced.graph.nodes:
        inputs = node.all_input_nodes
        node.meta["constant"] = node.op == "get_attr" or (
            node.op.startswith("call") and all(n.meta["constant"] for n in inputs)
        )
        if node.op == "output":
            continue
        value = double.env[node]
        node.meta["resolution"] = max(
            [_resolution(value), *(n.meta["resolution"] for n in inputs)], default=0.0
        )
        if isinstance(value, Tensor):
            node.meta.update(shape=double.shapes[node], dtype=value.dtype)
        elif isinstance(value, tuple | list):
            node.meta["tensors" if holds_tensors(value) else "sizes"] = True
        hidden = any(_hides_count(n, examples) for n in inputs)
        by_sizes = _made_by_sizes(node) and not hidden
        if by_sizes and _is_equal(value, first.env[node], second.env[node]):
            node.meta.update(constant=True, value=value)
        if node.meta["constant"]:
            node.meta.update(_number(value))
        # What reads a mixed value is mixed too, but not to blame.
        node.meta["mixed"] = any(n.meta["mixed"] for n in inputs)
        signal = not node.meta["constant"] and not node.meta["mixed"]
        alone = first.env[node], second.env[node], node.meta["resolution"]
        counted = signal and (is_sum(node) or is_product(node)) and isinstance(value, Tensor)
        counted = counted and any(_counts_images(n, examples) for n in inputs)
        counted = counted or (hidden and isinstance(value, Tensor))
        mixes = signal and (counted or cuts_batch(node) or not _apart(value, *alone))
        if mixes and not counted and not cuts_batch(node):
            exact = _apart_in_double(traced, batch) if exact is None else exact
            mixes = not exact.get(node.name, False)
        if mixes:
            node.meta["mixed"] = True
            node.meta["mixes"] = node.op != "placeholder"
    nodes = (node for node in traced.graph.nodes if node.op != "output")
    traced.meta["resolution"] = max(node.meta["resolution"] for node in nodes)
    return _note_overwriting(traced, first)


def _run_apart(traced: fx.GraphModule, batch: Batch) -> tuple[_Recorder, _Recorder, _Recorder]:
    """The first of two images, the second, and both in one batch."""
    runs = _Recorder(traced), _Recorder(traced), _Recorder(traced)
    with without_levels(traced):
        for run, images in zip(runs, (batch[:1], batch[1:], batch), strict=True):
            run.run(*copies(images))
    return runs


def _apart_in_double(traced: fx.GraphModule, batch: Batch) -> dict[str, bool]:
    """By name of the node, whether images stay apart in float64; empty where it cannot be run.

    A deep network of random weights can amplify the last bits of float32, in which a batch of two
    differs from two of one, to what looks like another image's share.
    """
    try:
        wide = copy.deepcopy(traced).double()
        images = (x.double() if x.is_floating_point() else x for x in tensors_of(batch))
        first, second, double = _run_apart(wide, batch_of(images))
    except Exception:  # such as a forward that makes float32 tensors: then float32 decides
        return {}
    return {
        node.name: _apart(value, first.env[node], second.env[node], _resolution(value))
        for node, value in double.env.items()
    }


@contextmanager
def without_levels(network: nn.Module) -> Iterator[None]:
    """Inside, trained steps only clip.

    A convolution of two images differs from that of one in its last bits, which a step would make a
    difference of a whole level.
    """
    stepped = [module for module in network.modules() if type(module) is QCFS]
    for module in stepped:
        module.__class__ = Clip  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in stepped:
            module.__class__ = QCFS


def _made_by_sizes(node: fx.Node) -> bool:
    """Whether a value depends on images, but by their sizes alone."""
    return not node.meta["constant"] and node.meta["reads"] is not Reads.VALUES


def _counts_images(node: fx.Node, examples: Mapping[fx.Node, Examples]) -> bool:
    """Whether a number goes by how many images there are, be it the same for one and for two."""
    alone, both = examples[node]
    if holds_tensors(both):
        return False
    return bool(alone != both) or other_count(node, examples, 1) is not None


def _hides_count(node: fx.Node, examples: Mapping[fx.Node, Examples]) -> bool:
    """Whether a number is the same for one image and for two, and another one for more."""
    alone, both = examples[node]
    if not isinstance(both, int | float) or alone != both:
        return False
    return other_count(node, examples, 1) is not None


def _is_equal(value: Any, *others: Any) -> bool:
    """Whether tensors, or tuples of tensors, are the same."""
    wanted, *found = (list(tensors(each)) for each in (value, *others))
    return bool(wanted) and all(
        len(each) == len(wanted) and all(map(torch.equal, wanted, each)) for each in found
    )


def _number(value: Any) -> dict[str, Any]:
    """Of a constant that is one number, whatever its shape: the number, and if it is trained."""
    if isinstance(value, Tensor) and value.numel() and not value.is_complex():
        first = value.flatten()[0]
        same = bool((value == first).all())
        return {"number": first.item(), "parameter": isinstance(value, Parameter)} if same else {}
    return {"number": value} if isinstance(value, int | float) else {}


def _note_overwriting(traced: fx.GraphModule, run: _Recorder) -> list[Problem]:
    """Set ``overwrites``; problems where another view of the overwritten memory is read later."""
    modules = dict(traced.named_modules())
    order = {node: index for index, node in enumerate(traced.graph.nodes)}
    problems = []
    for writer, operand in run.overwritten.items():
        target = next(tensors(run.env[operand]))
        earlier = [node for node in run.env if order[node] < order[writer]]
        writer.meta["overwrites"] = [node for node in earlier if _is_same(run.env[node], target)]
        others = [
            node
            for node in earlier
            if node not in writer.meta["overwrites"]
            and any(_overlap(part, target) for part in tensors(run.env[node]))
        ]
        if any(order[user] > order[writer] for node in others for user in node.users):
            problems.append(problem(writer, modules, _OVERLAPS))
    return problems


def _versions(value: Any) -> list[int]:
    """Counters of the writes into a value's memory; views share their base's."""
    return [tensor._version for tensor in tensors(value)]


def _is_same(a: Any, b: Tensor) -> bool:
    """Whether a value is tensor b, under another name or not."""
    return isinstance(a, Tensor) and (
        (a.data_ptr(), a.shape, a.stride()) == (b.data_ptr(), b.shape, b.stride())
    )


def _overlap(a: Tensor, b: Tensor) -> bool:
    (first, last), (begin, end) = _extent(a), _extent(b)
    return first < end and begin < last


def _extent(x: Tensor) -> tuple[int, int]:
    """First byte of a tensor's memory, and the one behind its last."""
    reach = sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True))
    return x.data_ptr(), x.data_ptr() + (reach + 1) * x.element_size()


def _resolution(value: Any) -> float:
    """Of the coarsest floating-point tensor in a value; what is none is exact."""
    floating = (x.dtype for x in tensors(value) if x.is_floating_point())
    return max((torch.finfo(dtype).eps for dtype in floating), default=0.0)


def _apart(batch: Any, first: Any, second: Any, resolution: float) -> bool:
    """Whether a value of two images is what each of them has alone, one after the other."""
    if isinstance(batch, Tensor):
        single = (1, *batch.shape[1:])
        if batch.dim() == 0 or len(batch) != 2 or first.shape != single or second.shape != single:
            return False
        if not batch.is_floating_point():
            # They may come from rounded values, which differ in their last bits with the batch.
            batch, first, second = batch.float(), first.float(), second.float()
            resolution = max(resolution, torch.finfo(torch.float32).eps)
        return all(
            is_close(part, alone, resolution)
            for part, alone in ((batch[:1], first), (batch[1:], second))
        )
    if isinstance(batch, tuple | list) and batch and isinstance(batch[0], Tensor):
        return len(batch) == len(first) == len(second) and all(
            _apart(*parts, resolution) for parts in zip(batch, first, second, strict=True)
        )
    return True


def is_close(a: Tensor, b: Tensor, resolution: float, root: int = 2) -> bool:
    """Whether two tensors of one shape differ by little, relative to the largest of their values.

    By less than a root of the resolution; the square root is 0.03 % in float32, 9 % in bfloat16.
    What is not a number is as good as 0: calibration finds it.

    Args:
        a, b: tensors; what is not floating-point has to be equal.
        resolution: of the coarsest dtype behind them.
        root: 2 for the square root.
    """
    if not a.is_floating_point():
        return torch.equal(a, b)
    if not a.numel():
        return True
    tolerance = resolution ** (1 / root)
    a, b = a.double().nan_to_num(), b.double().nan_to_num()
    return bool((a - b).abs().max() <= tolerance * torch.maximum(a.abs().max(), b.abs().max()))
