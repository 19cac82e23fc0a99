"""What a call of a spiking network is given: its inputs by position or by name, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from spikeconv.calibrate.inputs import Batch, Inputs, batch_of, tensors_of, told_of_size
from spikeconv.network.program import Input, Program
from spikeconv.ops.check import ShapeError

# Arguments of a spiking network's own call, whatever the inputs are called.
_OWN = ("T", "readout")


def given(
    program: Program, args: Sequence[Any], named: Mapping[str, Any], weight: Tensor | None
) -> Batch:
    """The batch that a network is called with.

    Args:
        program: says which inputs there are.
        args: the inputs in the order of the ANN's arguments, or one tuple, list, dict or `Inputs`
            of them.
        named: those that are given by the names that they have in the ANN's forward.
        weight: gives the device and the dtype of what is floating-point, if there is any.

    Raises:
        TypeError, ValueError: naming the argument.
    """
    if len(args) == 1 and not named and not isinstance(args[0], Tensor):
        whole = args[0]
        if isinstance(whole, Inputs):
            args = whole.tensors
        elif isinstance(whole, Mapping):
            args, named = (), whole
        elif isinstance(whole, tuple | list) and len(program.inputs) > 1:
            args = whole
    names = [item.argument for item in program.inputs]
    values = dict(zip(names, args, strict=False))
    twice = sorted(set(values) & set(named))
    values.update(named)
    if len(args) > len(names) or twice or sorted(values) != sorted(names):
        also = f" and {', '.join(named)} by name" if named else ""
        own = [name for name in names if name in _OWN and name not in values]
        hint = "; T and readout are given by name" if len(args) > len(names) else ""
        if len(values) == 1 < len(names):
            hint = f"; as one argument they are the tuple ({', '.join(names)})"
        if own:
            hint = f"; {own[0]} by name is this call's own: give all inputs by position"
        raise TypeError(
            f"SpikingNetwork: the inputs must be {', '.join(names)}, got {len(args)} of them"
            f"{also}{hint}"
        )
    tensors = [values[name] for name in names]
    label = {name: name if len(names) > 1 else "x" for name in names}
    for item, x in zip(program.inputs, tensors, strict=True):
        _check(x, item, label[item.argument], several=len(names) > 1, weight=weight)
    if any(x.shape[0] != tensors[0].shape[0] for x in tensors):
        sizes = ", ".join(f"{name} {len(values[name])}" for name in names)
        raise ValueError(
            f"SpikingNetwork: all inputs must be of the same images, got so many: {sizes}"
        )
    return batch_of(tensors)


def _check(x: Any, item: Input, name: str, *, several: bool, weight: Tensor | None) -> None:
    if several and not item.dtype.is_floating_point:
        right = isinstance(x, Tensor) and x.dtype == item.dtype
        kind = f"a tensor of {item.dtype}"
    else:
        right = isinstance(x, Tensor) and x.is_floating_point()
        kind = "a floating-point tensor"
    if not right:
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"SpikingNetwork: {name} must be {kind}, got {got}")
    if x.layout is not torch.strided:
        raise TypeError(
            f"SpikingNetwork: {name} must be dense, got {x.layout}; give {name}.to_dense()"
        )
    wanted = item.shape
    if x.dim() != len(wanted) + 1 or (x.dim() > 1 and x.shape[1] != wanted[0]):
        shape = ", ".join(["B", *map(str, wanted)])
        raise ValueError(
            f"SpikingNetwork: {name} must be a batch like [{shape}], got shape {list(x.shape)}"
        )
    if weight is None:
        return
    if x.device != weight.device:
        raise ValueError(
            f"SpikingNetwork: {name} must be on {weight.device} as the network is, got {x.device}"
        )
    # On meta there is no autocast to be asked.
    mixed = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    if x.is_floating_point() and x.dtype != weight.dtype and not mixed:
        raise TypeError(
            f"SpikingNetwork: {name} must be {weight.dtype} as the network is, got {x.dtype}"
        )


def sizes_told(program: Program, batch: Batch) -> AbstractContextManager[None]:
    """Of an error within, say that it comes of images of another size than in calibration."""
    inputs = program.inputs
    names = [f"SpikingNetwork: {i.argument if len(inputs) > 1 else 'x'}" for i in inputs]
    errors = RuntimeError, ShapeError  # this one of neurons that differ from place to place
    return told_of_size(names, batch, [item.shape for item in inputs], errors)


def bad_images(batch: Batch) -> Tensor:
    """0 per image, NaN where it holds NaN or infinity, to be added to its outputs. Shape ``[B]``.

    A neuron swallows NaN (it just does not fire), so without this a broken image would look fine.
    """
    images = (x for x in tensors_of(batch) if x.is_floating_point())
    return torch.stack([(x.unsqueeze(-1).flatten(1) * 0).sum(1) for x in images]).sum(0)
