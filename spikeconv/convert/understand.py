"""Whether every call of a normalised graph has a spiking form; if not, all that have none."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn

from spikeconv.convert import vocabulary
from spikeconv.convert.errors import ConversionError, Problem
from spikeconv.convert.layers import Rectifier, reshape_like, reshape_samples
from spikeconv.convert.trace import problem

_UNKNOWN = (
    "conversion knows it neither as linear nor as a ReLU, so there is no spiking form of it; "
    "replace it by ReLU and train again, or take it off the network's end"
)
_PRODUCT = (
    "the product or quotient of two values that both depend on the input has no spiking form; "
    "multiplying by a constant, a parameter or a buffer has"
)
_ROUNDS = "division that rounds is not linear, so it has no spiking form; leave out rounding_mode"
_INDICES = "max pooling that returns indices has no spiking form; set return_indices=False"
_BATCH_STATISTICS = (
    "batch norm without running statistics uses those of the batch; set "
    "track_running_stats=True and train, or calibrate, once more"
)
_DROPS = "it drops values at inference too; pass training=self.training"
_MIXES = (
    "it mixes the images of a batch, or fixes the batch size; time-steps are run as images of a "
    "larger batch, so every image must be treated for itself along dimension 0"
)
_CONSTANT_OUTPUT = "it returns a tensor that does not depend on the input; return it elsewhere"
_NO_RECTIFIER = (
    "there is no ReLU in it, so there is nothing to turn into spikes; its output is linear in its "
    "input already"
)


def understand(traced: fx.GraphModule, found: Sequence[Problem] = ()) -> None:
    """Raise one ConversionError that names every call without a spiking form, and all `found`."""
    modules = dict(traced.named_modules())
    problems = list(found) + [
        problem(node, modules, reason)
        for node in traced.graph.nodes
        if (reason := _refusal(node, modules)) is not None
    ]
    neurons = [n for n in traced.graph.nodes if isinstance(_layer(n, modules), Rectifier)]
    if not problems and not neurons:
        problems.append(Problem("", "forward", "", _NO_RECTIFIER))
    if problems:
        raise ConversionError(problems)


def _layer(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if node.op == "call_module" else None


def _depends_on_input(value: object) -> bool:
    return isinstance(value, fx.Node) and not value.meta.get("constant", False)


def _is_tensor(value: object) -> bool:
    return isinstance(value, fx.Node) and "shape" in value.meta


def _refusal(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """Why a node cannot be converted, or None."""
    if node.op == "output" or vocabulary.is_named_tuple(node):
        constant = any(_is_tensor(n) and not _depends_on_input(n) for n in node.all_input_nodes)
        return _CONSTANT_OUTPUT if constant else None
    if not node.op.startswith("call") or node.meta["constant"]:
        return None
    if "shape" not in node.meta and not node.meta.get("tensors"):
        return None  # arithmetic on sizes
    reason = _has_no_spiking_form(node, modules)
    return _MIXES if reason in (None, _UNKNOWN) and node.meta.get("mixes") else reason


def _has_no_spiking_form(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """Why a call that treats every image for itself has no spiking form, or None."""
    if isinstance(_layer(node, modules), Rectifier):
        return None
    if node.target in (reshape_samples, reshape_like):
        return None
    if vocabulary.is_max_pool(node, modules):
        return _INDICES if vocabulary.returns_indices(node, modules) else None
    if vocabulary.is_batch_norm(node, modules):
        return None if vocabulary.is_linear(node, modules) else _BATCH_STATISTICS
    if vocabulary.is_sum(node):
        return None
    if vocabulary.is_product(node) or vocabulary.is_contraction(node):
        return _product_refusal(node)
    if vocabulary.is_linear(node, modules):
        return _MIXES if vocabulary.rolls_all(node) else None
    return _DROPS if node.target in vocabulary.DROPPED_FUNCTIONS else _UNKNOWN


def _product_refusal(node: fx.Node) -> str | None:
    """One factor may be a signal, and no divisor; a weight is a factor."""
    operands: list[object] = []
    for value in (*node.args, *node.kwargs.values()):
        operands += value if isinstance(value, list | tuple) else [value]
    signals = [value for value in operands if _depends_on_input(value) and _is_tensor(value)]
    if len(signals) > 1:
        return _PRODUCT
    if "div" not in str(getattr(node.target, "__name__", node.target)):
        return None
    if vocabulary.argument(node, 2, "rounding_mode") is not None:
        return _ROUNDS
    return _PRODUCT if vocabulary.argument(node, 1, "other") in signals else None
