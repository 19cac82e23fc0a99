"""Tensors that a description refers to: each once, with the strides that it has in memory.

Strides count: a convolution may take another way, and give other bits, for weights in
channels-last order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.files.malformed import Malformed
from spikeconv.files.values import short


class Collected:
    """Tensors to be written, by name. What shares its memory is written once.

    Attributes:
        tensors: contiguous, on the CPU, none sharing memory with another.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[Any, str] = {}

    def add(self, name: str, tensor: Tensor) -> Any:
        """Take a tensor, and say how a description refers to it.

        Raises:
            TypeError: a tensor that is not dense, or without values.
        """
        tensor = tensor.detach()
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "meta" if tensor.is_meta else f"{tensor.layout}, {tensor.dtype}"
            raise TypeError(f"a tensor that is not dense ({kind})")
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and place in self._names:
            name = self._names[place]
        else:
            self._names[place] = name
            plain = tensor.resolve_conj().resolve_neg().cpu()
            self.tensors[name] = plain.clone(memory_format=torch.contiguous_format)
        if _is_dense(tensor.shape, tensor.stride()) and tensor.stride() != _row_major(tensor.shape):
            return {"tensor": name, "stride": list(tensor.stride())}
        return {"tensor": name}


class Loaded:
    """Tensors that were read, for those who refer to them.

    Args:
        tensors: by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._placed: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self._parameters: dict[int, nn.Parameter] = {}
        self._asked: set[str] = set()

    def get(self, reference: Any) -> Tensor:
        """The tensor that a description refers to; the same one each time.

        Raises:
            Malformed: there is none, or it cannot have such strides.
        """
        if not is_reference(reference):
            raise Malformed(f"{short(reference)} refers to no tensor")
        name, stride = reference["tensor"], reference.get("stride")
        if name not in self._tensors:
            raise Malformed(f"the tensor {short(name)} is missing")
        self._asked.add(name)
        tensor = self._tensors[name]
        if stride is None:
            return tensor
        whole = isinstance(stride, list) and all(type(s) is int and 0 <= s < 2**63 for s in stride)
        if not whole or len(stride) != tensor.dim() or not _is_dense(tensor.shape, tuple(stride)):
            raise Malformed(f"{short(stride)} are no strides of a tensor {list(tensor.shape)}")
        place = (name, tuple(stride))
        if place not in self._placed:
            empty = torch.empty_strided(
                tensor.shape, stride, dtype=tensor.dtype, device=tensor.device
            )
            self._placed[place] = empty.copy_(tensor)
        return self._placed[place]

    def parameter(self, reference: Any) -> nn.Parameter:
        """The same as a parameter, which all layers that refer to it share.

        Raises:
            Malformed: as `get`.
        """
        tensor = self.get(reference)
        if id(tensor) not in self._parameters:
            self._parameters[id(tensor)] = nn.Parameter(tensor, requires_grad=False)
        return self._parameters[id(tensor)]

    def check_all_asked(self) -> None:
        """Raise Malformed where nothing refers to a tensor."""
        extra = sorted(self._tensors.keys() - self._asked)
        if extra:
            raise Malformed(f"nothing refers to the tensor {short(extra[0])}")


def is_reference(value: Any) -> bool:
    """Whether a part of a description refers to a tensor."""
    if not isinstance(value, dict) or not isinstance(value.get("tensor"), str):
        return False
    return set(value) <= {"tensor", "stride"}


def _row_major(shape: torch.Size) -> tuple[int, ...]:
    """Strides of a contiguous tensor, as torch gives them."""
    stride, strides = 1, []
    for size in reversed(shape):
        strides.append(stride)
        stride *= max(1, size)
    return tuple(reversed(strides))


def _is_dense(shape: torch.Size, stride: tuple[int, ...]) -> bool:
    """Whether strides reach every place of a tensor's memory once."""
    expected = 1
    for step, size in sorted(zip(stride, shape, strict=True)):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True
