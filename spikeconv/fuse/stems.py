"""What leads from the images to the first neurons, and how a GPU computes it.

Convolutions see images in channels-last order, and the last of them gives its output without a bias
to an engine, which adds it and takes a max-pool on the way to the neurons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from spikeconv.fuse.windows import pair
from spikeconv.network.program import Phase, Program, Step, refs
from spikeconv.network.run_step import Layers
from spikeconv.network.subclasses import is_changed

DEVICES = ("cuda",)
"""Types of device on which all of this holds: a CPU takes images in their own order."""

# Terms of the largest window that a kernel takes, which has them all in registers.
_LARGEST_WINDOW = 16

# What keeps the order that it is given, and gives the same numbers in either, up to the order in
# which a convolution is summed.
_KEEP = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Identity)


def find_stems(
    program: Program, layers: Mapping[str, nn.Module], encoders: Collection[str]
) -> frozenset[str]:
    """Names of the static convolutions in chains that end in encoders.

    Nobody else reads what is between: a ``view`` for one takes no channels-last tensor.

    Args:
        program: the steps in order.
        layers: modules by name.
        encoders: populations that an engine runs in floating point.
    """
    readers = _readers(program)
    inside = set(encoders)
    stems = set()
    for step in reversed(list(program.phase(Phase.STATIC))):
        module = layers[step.target] if step.kind in ("module", "max_pool") else None
        keeps = type(module) in _KEEP and len(step.shape) == 3
        if keeps and readers.get(step.name, {""}) <= inside:
            inside.add(step.name)
            if isinstance(module, nn.Conv2d):
                stems.add(step.name)
    return frozenset(stems)


@dataclass(frozen=True)
class Front:
    """The last convolution before an encoder, and a max-pool between the two.

    Attributes:
        convolution: name of its step, which nothing else reads.
        layer: its name.
        pool: name of the max-pool's step, likewise; None where there is none.
        pool_layer: its name.
    """

    convolution: str
    layer: str
    pool: str | None
    pool_layer: str | None


def find_fronts(
    program: Program, layers: Mapping[str, nn.Module], encoders: Collection[str]
) -> Mapping[str, Front]:
    """By name of an encoder, what is right before it, where that is a front.

    Args:
        program, layers, encoders: as of `find_stems`.
    """
    readers, steps = _readers(program), {step.name: step for step in program.steps}

    def before(step: Step, kind: type[nn.Module]) -> Step | None:
        """The static layer of that kind that a step reads, if no other step does."""
        found = steps.get(step.args[0].name)
        if found is None or found.kind not in ("module", "max_pool"):
            return None
        image = found.phase is Phase.STATIC and len(found.shape) == 3
        only = readers[found.name] == {step.name} and len(found.args) == 1 and not found.kwargs
        return found if image and only and type(layers[found.target]) is kind else None

    fronts = {}
    for name in encoders:
        pool = before(steps[name], nn.MaxPool2d)
        if pool is not None and not _fits(layers[pool.target]):
            continue
        convolution = before(pool or steps[name], nn.Conv2d)
        if convolution is not None:
            fronts[name] = Front(
                convolution.name,
                convolution.target,
                None if pool is None else pool.name,
                None if pool is None else pool.target,
            )
    return fronts


def layers_of(front: Front, layers: Layers) -> tuple[nn.Conv2d, nn.MaxPool2d | None] | None:
    """Its two layers; None where one has a hook or a forward of its own, and is to be called."""
    convolution = layers[front.layer]
    pool = None if front.pool_layer is None else layers[front.pool_layer]
    for layer in (convolution, pool):
        if layer is not None and is_changed(layer):
            return None
    assert isinstance(convolution, nn.Conv2d)
    assert pool is None or isinstance(pool, nn.MaxPool2d)
    return convolution, pool


def without_bias(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution's output before its bias is added."""
    output: Tensor = convolution._conv_forward(x, convolution.weight, None)
    return output


def _fits(pool: nn.Module) -> bool:
    """Whether a max-pool is all that it seems, over windows that are not too large."""
    return not pool.return_indices and prod(pair(pool.kernel_size, 2, 1)) <= _LARGEST_WINDOW


def _readers(program: Program) -> dict[str, set[str]]:
    """The steps that read each value, by its name; of the output's values one is ``""``."""
    readers: dict[str, set[str]] = {ref.name: {""} for ref in refs(program.output)}
    for step in program.steps:
        for ref in refs((step.args, step.kwargs)):
            readers.setdefault(ref.name, set()).add(step.name)
    return readers
