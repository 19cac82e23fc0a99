"""Whether every call of a normalised graph has a spiking form; if not, all that have none."""

from __future__ import annotations

from torch import fx, nn

from spikeconv.convert import vocabulary
from spikeconv.convert.errors import ConversionError, Problem
from spikeconv.convert.layers import Rectifier, reshape_samples
from spikeconv.convert.trace import called, problem

_UNKNOWN = (
    "it is not linear and not a ReLU, so there is no spiking form of it; replace it by ReLU and "
    "train again, or take it off the network's end"
)
_PRODUCT = (
    "the product or quotient of two values that both depend on the input has no spiking form; "
    "multiplying by a constant, a parameter or a buffer has"
)
_INDICES = "max pooling that returns indices has no spiking form; set return_indices=False"
_BATCH_STATISTICS = (
    "batch norm without running statistics uses those of the batch; set "
    "track_running_stats=True and train, or calibrate, once more"
)
_NO_RECTIFIER = (
    "there is no ReLU in it, so there is nothing to turn into spikes; its output is linear in its "
    "input already"
)


def understand(traced: fx.GraphModule) -> None:
    """Raise one ConversionError that names every call without a spiking form."""
    modules = dict(traced.named_modules())
    problems = [
        problem(node, modules, reason)
        for node in traced.graph.nodes
        if (reason := _refusal(node, modules)) is not None
    ]
    inputs = [n for n in traced.graph.nodes if n.op == "placeholder"]
    if len(inputs) != 1:
        names = ", ".join(repr(str(node.target)) for node in inputs)
        reason = f"one input is wanted, forward takes {len(inputs)}: {names}"
        problems.append(Problem("", "forward", "", reason))
    neurons = [n for n in traced.graph.nodes if isinstance(_layer(n, modules), Rectifier)]
    if not problems and not neurons:
        problems.append(Problem("", "forward", "", _NO_RECTIFIER))
    if problems:
        raise ConversionError(problems)


def _layer(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if node.op == "call_module" else None


def _depends_on_input(value: object) -> bool:
    return isinstance(value, fx.Node) and not value.meta.get("constant", False)


def _is_signal(node: fx.Node) -> bool:
    """Whether a value is a tensor that depends on the input."""
    return _depends_on_input(node) and "shape" in node.meta


def _refusal(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """Why a call cannot be converted, or None."""
    if not node.op.startswith("call") or node.meta.get("constant"):
        return None
    if "shape" not in node.meta and not _makes_tensors(node):
        return None  # arithmetic on sizes
    if isinstance(_layer(node, modules), Rectifier) or node.target is reshape_samples:
        return None
    if vocabulary.is_max_pool(node, modules):
        return _INDICES if vocabulary.returns_indices(node, modules) else None
    if isinstance(called(node, modules), vocabulary.BATCH_NORMS):
        return None if vocabulary.is_linear(node, modules) else _BATCH_STATISTICS
    if vocabulary.is_sum(node) or vocabulary.is_linear(node, modules):
        return _affine_refusal(node)
    if vocabulary.is_product(node):
        return _product_refusal(node)
    return _UNKNOWN


def _makes_tensors(node: fx.Node) -> bool:
    return bool(node.meta.get("tensors", False))


def _affine_refusal(node: fx.Node) -> str | None:
    """A layer's weight must not depend on the input, as a convolution by another signal would."""
    if vocabulary.is_sum(node) or node.op != "call_function":
        return None
    weights = [node.kwargs.get("weight"), *node.args[1:2]]
    convolves = "conv" in getattr(node.target, "__name__", "") or "linear" in getattr(
        node.target, "__name__", ""
    )
    return _PRODUCT if convolves and any(map(_depends_on_input, weights)) else None


def _product_refusal(node: fx.Node) -> str | None:
    operands = [*node.args, *node.kwargs.values()][:2]
    signals = [o for o in operands if isinstance(o, fx.Node) and _is_signal(o)]
    if len(signals) > 1:
        return _PRODUCT
    divided_by = operands[1] if len(operands) > 1 else None
    divides = "div" in str(getattr(node.target, "__name__", node.target))
    return _PRODUCT if divides and divided_by in signals else None
