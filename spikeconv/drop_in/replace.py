"""Swap the IF layers of other libraries for ours, in place and recursively."""

from __future__ import annotations

import dataclasses
import functools
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import chain

import torch
from torch import nn

from spikeconv.drop_in.adopted import Adopted
from spikeconv.drop_in.report import Layer, ReplaceReport
from spikeconv.neuron import IFNode

# The packages whose neurons are known, and the files beside this one that know them.
_PACKAGES = {
    "spikingjelly.activation_based": "spikingjelly",
    "snntorch": "snntorch",
    "sinabs": "sinabs",
    "norse": "norse",
}
# What a shorter forward takes the place of was read in these versions. SpikingJelly's neurons are
# not run on, but constructed anew from what both of its dialects say of them.
_COMPARED = {"snntorch": "1.0", "sinabs": "3.1", "norse": "1.1"}


def replace_neurons(net: nn.Module) -> ReplaceReport:
    """Swap the IF layers of SpikingJelly, snnTorch, Sinabs and Norse in a network for ours.

    In place: a module stays the object that it is, with its name, hooks, mode, device and state,
    and becomes one that computes the same spikes and potentials in float32, faster. A module that
    stands in several places is one module still; `net` may be a neuron layer itself. None of these
    libraries is imported that is not already.

    What is replaced:

    - SpikingJelly (2.0.0 and 0.0.0.0.14): IFNode, HalfThresholdIFNode, SimpleIFNode, and
      ActivationAwareIFNode without an offset; each becomes an `IFNode`, which `reset_net`,
      `set_step_mode` and `detach_net` know. In 16 bits its membrane has 32, where SpikingJelly's
      has 16. It is in no checkpoint, as IFNode is not; the buffers of an ActivationAwareIFNode
      leave theirs.
    - snnTorch: Leaky with beta = 1, which resets by subtraction or to zero.
    - Sinabs: IAF and IAFSqueeze with SingleSpike.
    - Norse: IAF and IAFCell.

    These keep their call conventions, attributes and checkpoints. What means something else is left
    alone, and the report says why: neurons that leak or fire several spikes a step, learned
    parameters, classes of one's own that override methods, infinite or negative thresholds.

    One thing changes: a call on neurons of another shape than those whose state is kept is an
    error that says so, where the originals begin anew or draw a state in silence. (Norse's state is
    the caller's own, and one that does not fit is Norse's error.)

    Args:
        net: any module.

    Returns:
        A report of every neuron layer: print it, or read `replaced` and `left`.

    Raises:
        TypeError: `net` is no module.

    Example:
        >>> print(replace_neurons(nn.Sequential(nn.Linear(2, 3), nn.ReLU())))
        0 of 0 neuron layers replaced
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"replace_neurons: net must be a torch.nn.Module, got {type(net).__name__}")
    paths = _paths(net)
    device = _device(net)
    replaced, left = [], []
    for module in net.modules():
        library = _library(module)
        if library is None or isinstance(module, IFNode | Adopted):
            continue
        path, *also_at = paths[id(module)]
        layer = Layer(path, library, type(module).__name__, tuple(also_at))
        why = _unknown_version(library)
        if why is None:
            adapter = import_module(f"spikeconv.drop_in.{library}")
            if not adapter.is_neuron(module):
                continue
            why = adapter.replace(module, device)
        if why is None:
            became = repr(module) if isinstance(module, IFNode) else type(module).__name__
            replaced.append(dataclasses.replace(layer, became=became))
        else:
            left.append(dataclasses.replace(layer, why=why))
    return ReplaceReport(tuple(replaced), tuple(left))


def _paths(net: nn.Module) -> dict[int, list[str]]:
    """Where each module of a network stands, by its id: all its places under modules named once."""
    paths = {id(net): [""]}
    for path, module in net.named_modules():
        for name, child in module._modules.items():
            if child is not None:
                place = f"{path}.{name}" if path else name
                paths.setdefault(id(child), []).append(place)
    return paths


def _library(module: nn.Module) -> str | None:
    """The library that a module's class, or one that it derives from, belongs to."""
    for cls in type(module).__mro__:
        for package, library in _PACKAGES.items():
            if f"{cls.__module__}.".startswith(f"{package}."):
                return library
    return None


@functools.cache
def _unknown_version(library: str) -> str | None:
    """Why the installed version of a library may compute something else, or None."""
    compared = _COMPARED.get(library)
    if compared is None:
        return None
    try:
        installed = version(library)
    except PackageNotFoundError:
        return f"the version of {library} is not known; {compared} is"
    if f"{installed}.".startswith(f"{compared}."):
        return None
    return f"{library} {installed} was not compared with ours, as {compared} was"


def _device(net: nn.Module) -> torch.device:
    """Where all of a network lies; the CPU if in several places, whose scalars any device reads."""
    devices = {tensor.device for tensor in chain(net.parameters(), net.buffers())}
    return devices.pop() if len(devices) == 1 else torch.device("cpu")
