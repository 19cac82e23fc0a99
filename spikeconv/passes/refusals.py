"""Why a call of a normalised graph has no spiking form, in words that say what to do."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeconv.network import vocabulary
from spikeconv.network.layers import RESHAPES, Rectifier
from spikeconv.network.program import Phase
from spikeconv.passes import inert, kinds
from spikeconv.passes.sizes import DRAWS, Reads
from spikeconv.passes.trace import called


@dataclass(frozen=True)
class Refusal:
    """Why, and whether the call could be kept as it is where no spikes pass through it."""

    reason: str
    keepable: bool = False


_UNKNOWN = (
    "conversion knows it neither as linear nor as a ReLU, so there is no spiking form of it; "
)
_REPLACE = "replace it by ReLU and train again, or take it off the network's end"
_REWRITE = (
    "write it with ReLUs and what is linear in an image (sums, products with constants, averages, "
    "reshapes), or take it off the network's end"
)
_LEAKY = (
    "write it with two ReLUs, F.relu(x) - slope * F.relu(-x), which is the same and has one, or "
    "replace it by ReLU and train again"
)
_ABS = "write it with two ReLUs, F.relu(x) + F.relu(-x), which is the same and has one"
_RANDOM = "it draws random numbers; leave it out where self.training is False"
_ATTENTION = "attention multiplies values that all depend on the input, behind a softmax"
_RECURRENT = "a recurrent layer multiplies its gates, which all depend on the input"
_LOOP = "a recurrent layer calls itself along a sequence; write the loop with nn.Linear and ReLU"
_SEQUENCE = (
    "; it cannot be kept analog, as only its cells can, such as nn.LSTMCell: take it off the "
    "network's end, and run it on what comes out there"
)
_NORM = "it divides by a statistic of its input, which batch norm does not do at inference"
_LARGEST = "take amax, or max without its indices, over dimensions of an image, which have one"
_OF_TWO = (
    "of two values, the larger is F.relu(a - b) + b and the smaller a - F.relu(a - b), which have "
    "one"
)
_POOL = "take a max or an average pool, which have one"

_PRODUCT = (
    "the product or quotient of two values that both depend on the input has no spiking form; "
    "multiplying by a constant, a parameter or a buffer has"
)
_ROUNDS = "division that rounds is not linear, so it has no spiking form; leave out rounding_mode"
_INDICES = "max pooling that returns indices has no spiking form; set return_indices=False"
_SIZED = (
    "max pooling of spikes over a window whose size the forward computes has no spiking form; give "
    "numbers, or take amax over the dimensions or an adaptive pool"
)
_BATCH_STATISTICS = (
    "batch norm without running statistics uses those of the batch; set "
    "track_running_stats=True and train, or calibrate, once more"
)
_IN_TRAINING = (
    "it is in training mode in a network that is not, and so uses statistics of the batch; leave "
    "out what puts it there"
)
_DROPS = "it drops values at inference too; pass training=self.training"
MIXES = (
    "it mixes the images of a batch, or fixes the batch size; time-steps are run as images of a "
    "larger batch, so every image must be treated for itself along dimension 0"
)
_CONSTANT_OUTPUT = "it returns a tensor that does not depend on the input; return it elsewhere"
_EMPTY = "it has no neurons: a layer before it has no channels, or leaves nothing of an image"

# Functions and methods that a ReLU may stand for; as layers they are in one module of torch.
_ACTIVATIONS = """
    celu clamp clamp_max clamp_min clip elu fmax fmin gelu glu hardshrink hardsigmoid hardswish
    hardtanh leaky_relu log_softmax logsigmoid maximum minimum mish prelu relu relu6 rrelu selu
    sigmoid silu softmax softmin softplus softshrink softsign tanh tanhshrink threshold
"""

_RANDOM_CALLS = (
    *DRAWS,
    *(torch.rand_like, torch.randn_like, torch.randint_like, torch.bernoulli, torch.normal),
    *(torch.poisson, torch.multinomial, "bernoulli", "bernoulli_", "multinomial", "normal_"),
    *("uniform_", "random_", F.gumbel_softmax),
)

_LARGER_OR_SMALLER = (
    *(torch.max, torch.min, torch.maximum, torch.minimum, torch.fmax, torch.fmin),
    *("max", "min", "maximum", "minimum", "fmax", "fmin"),
)

# What to do instead of the general advice.
_ADVICE: tuple[tuple[str, tuple[object, ...]], ...] = (
    (_LEAKY, (nn.LeakyReLU, nn.PReLU, F.leaky_relu, "leaky_relu", F.prelu, torch.prelu, "prelu")),
    (_ABS, (torch.abs, torch.absolute, abs, operator.abs, "abs", "absolute")),
    (
        _ATTENTION,
        (
            *(nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
            *(nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer),
            *(F.scaled_dot_product_attention, F.multi_head_attention_forward),
        ),
    ),
    (
        _NORM,
        (
            *(nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.InstanceNorm1d),
            *(nn.InstanceNorm2d, nn.InstanceNorm3d, F.layer_norm, F.rms_norm, F.group_norm),
            *(F.instance_norm, F.normalize, F.local_response_norm),
        ),
    ),
    (_LARGEST, (torch.max, torch.min, torch.topk, "max", "min", "topk")),
    (
        _POOL,
        (
            *(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d, F.lp_pool1d, F.lp_pool2d, F.lp_pool3d),
            *(nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, F.fractional_max_pool2d),
        ),
    ),
)


def _advice(target: object) -> str:
    for advice, targets in _ADVICE:
        if target in targets or type(target) in targets:
            return advice
    return _REPLACE if _is_activation(target) else _REWRITE


def _is_activation(target: object) -> bool:
    if isinstance(target, nn.Module):
        return any(
            kind.__module__ == "torch.nn.modules.activation" for kind in type(target).__mro__
        )
    return str(getattr(target, "__name__", target)).rstrip("_") in _ACTIVATIONS.split()


def refusal(
    node: fx.Node, modules: dict[str, nn.Module], phases: Mapping[fx.Node, Phase]
) -> Refusal | None:
    """Why a node cannot be converted, or None."""
    if node.op == "output" or kinds.puts_together(node):
        constant = any(_is_tensor(n) and not _depends_on_input(n) for n in node.all_input_nodes)
        return Refusal(_CONSTANT_OUTPUT) if constant else None
    if not node.op.startswith("call") or node.meta["constant"]:
        return None
    if "shape" not in node.meta and not node.meta.get("tensors"):
        return None  # arithmetic on sizes
    target = called(node, modules)
    if target in _RANDOM_CALLS:
        return Refusal(_RANDOM) if node.users else None
    if not _reads_values(node):
        return Refusal(MIXES) if node.meta.get("mixes") else None
    if node.meta.get("mixed") and not node.meta.get("mixes") and kinds.is_reshape(node):
        return None  # it may only bring mixed images back into a batch; the mixing is to blame
    if isinstance(target, nn.RNNBase | nn.RNNCellBase):
        reason = _LOOP if isinstance(target, nn.RNN | nn.RNNCell) else _RECURRENT
        if isinstance(target, nn.RNNBase):
            return Refusal(_UNKNOWN + reason + _SEQUENCE)
        return Refusal(_UNKNOWN + reason, keepable=True)
    found = _has_no_spiking_form(node, modules, phases)
    unknown = found is None or found.reason.startswith(_UNKNOWN)
    return Refusal(MIXES) if unknown and node.meta.get("mixes") else found


def _has_no_spiking_form(
    node: fx.Node, modules: dict[str, nn.Module], phases: Mapping[fx.Node, Phase]
) -> Refusal | None:
    """Why a call that treats every image for itself has no spiking form, or None."""
    target = called(node, modules)
    if isinstance(target, Rectifier) and 0 in node.meta.get("shape", ())[1:]:
        return Refusal(_EMPTY)
    if isinstance(target, Rectifier) or target in RESHAPES:
        return None
    if kinds.is_max_pool(node, modules):
        indices = kinds.returns_indices(node, modules)
        if indices:
            return Refusal(_INDICES, keepable=True)
        sized = node.op != "call_module" and phases[node] is Phase.TEMPORAL
        return Refusal(_SIZED) if sized else None
    if kinds.is_batch_norm(node, modules):
        if isinstance(target, nn.Module) and target.training:
            return Refusal(_IN_TRAINING)
        return None if kinds.is_linear(node, modules) else Refusal(_BATCH_STATISTICS)
    if kinds.is_sum(node):
        return None
    if kinds.is_product(node) or kinds.is_contraction(node):
        return _product(node, phases)
    if node.target in vocabulary.CHOICES and not _is_signal(_mask(node)):
        return None
    if kinds.is_linear(node, modules):
        return Refusal(MIXES) if kinds.rolls_all(node) else None
    if node.target in inert.DROPPED_FUNCTIONS:
        return Refusal(_DROPS)
    of_two = target in _LARGER_OR_SMALLER and _is_tensor(kinds.argument(node, 1, "other"))
    return Refusal(_UNKNOWN + (_OF_TWO if of_two else _advice(target)), keepable=True)


def _mask(node: fx.Node) -> object:
    """What a choice between values goes by."""
    return kinds.argument(node, *vocabulary.CHOICES[node.target])


def _product(node: fx.Node, phases: Mapping[fx.Node, Phase]) -> Refusal | None:
    """One factor may be a signal, and no divisor; a weight is a factor.

    Beside spikes, what is the same at every step is a weight, too, though it depends on the input.
    """
    operands: list[object] = []
    for value in (*node.args, *node.kwargs.values()):
        operands += value if isinstance(value, list | tuple) else [value]
    signals = [v for v in operands if isinstance(v, fx.Node) and _is_signal(v)]
    spiking = [v for v in signals if phases[v] is not Phase.STATIC]
    if len(spiking) > 1 or (len(signals) > 1 and not spiking):
        return Refusal(_PRODUCT, keepable=True)
    if "div" not in str(getattr(node.target, "__name__", node.target)):
        return None
    if kinds.argument(node, 2, "rounding_mode") is not None:
        return Refusal(_ROUNDS, keepable=True)
    divisor = kinds.argument(node, 1, "other")
    return Refusal(_PRODUCT, keepable=True) if divisor in (spiking or signals) else None


def _depends_on_input(value: object) -> bool:
    return isinstance(value, fx.Node) and not value.meta.get("constant", False)


def _is_signal(value: object) -> bool:
    """Whether it is a tensor that depends on the values of the input."""
    return _is_tensor(value) and _depends_on_input(value) and _reads_values(value)


def _reads_values(value: object) -> bool:
    return isinstance(value, fx.Node) and value.meta.get("reads") not in (
        Reads.NOTHING,
        Reads.SIZES,
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, fx.Node) and "shape" in value.meta
