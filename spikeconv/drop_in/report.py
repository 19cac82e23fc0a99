"""What `replace_neurons` says that it did: every neuron layer, replaced or left, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Layer:
    """A neuron layer of another library.

    Attributes:
        path: where it stands in the network, as in `named_modules`; "" is the network itself.
        library: ``"spikingjelly"``, ``"snntorch"``, ``"sinabs"`` or ``"norse"``.
        kind: the class it had.
        also_at: further places where the same module stands.
        became: what it is now, as text; "" where it was left.
        why: why it was left; "" where it was replaced.
    """

    path: str
    library: str
    kind: str
    also_at: tuple[str, ...] = ()
    became: str = ""
    why: str = ""


@dataclass(frozen=True)
class ReplaceReport:
    """The neuron layers that `replace_neurons` found, in the network's order.

    Attributes:
        replaced: those that are ours now.
        left: those that stay what they were, each with the reason.

    Example:
        >>> print(ReplaceReport((), (Layer("1", "spikingjelly", "LIFNode", why="it leaks"),)))
        0 of 1 neuron layer replaced
        left      1  LIFNode (spikingjelly): it leaks
    """

    replaced: tuple[Layer, ...] = ()
    left: tuple[Layer, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        total = len(self.replaced) + len(self.left)
        lines = [
            f"{len(self.replaced)} of {total} neuron layer{'' if total == 1 else 's'} replaced"
        ]
        layers = (*self.replaced, *self.left)
        places = [", ".join(p or "(the network)" for p in (x.path, *x.also_at)) for x in layers]
        width = max(map(len, places), default=0)
        for layer, place in zip(layers, places, strict=True):
            done, what = ("replaced", f" -> {layer.became}")
            if layer.why:
                done, what = ("left", f": {layer.why}")
            lines.append(f"{done:8}  {place.ljust(width)}  {layer.kind} ({layer.library}){what}")
        return "\n".join(lines)
