"""The integer program on a GPU: the engine that runs it in Triton."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikeconv.fuse.encoder import Encoder, Unpooled
from spikeconv.fuse.engine import Fired, IntegerProgram
from spikeconv.fuse.layer import IntegerLayer, Pool, channels_first, channels_last
from spikeconv.fuse.reference import State
from spikeconv.fuse.stepwise import StepwiseEngine
from spikeconv.ops import triton

if TYPE_CHECKING:  # without triton there is nothing to run, but this file can be imported
    from spikeconv.fuse.gpu_layer import GpuLayer

MULTIPLY = ("int8", "bf16")


@dataclass(frozen=True)
class Fields:
    """Spikes of a source on the GPU.

    Attributes:
        data: int8 ``[planes, B, H, W, C rounded up]``, as `spikeconv.kernels.fields` says.
        steps: T.
    """

    data: Tensor
    steps: int


class TritonEngine(StepwiseEngine):
    """Computes an integer program in Triton, on the device that its spikes are on.

    Spikes are kept as fields of bytes: eight time-steps of a neuron in a byte, four where neurons
    are signed. A layer is one kernel, whatever it adds up, and gives the bits of `ReferenceEngine`.

    Args:
        program: what to compute.
        encoders: populations in floating point whose static currents it takes.
        multiply: ``"int8"``; or ``"bf16"``: weights as bfloat16 and sums in float32, which is exact
            as well, because sums of integers end before they reach 2^24.

    Raises:
        ValueError: triton cannot run here, or `multiply` is neither.

    `SpikingNetwork.fuse` makes one, where it is on a GPU or asked for by ``backend="triton"``.
    """

    def __init__(
        self,
        program: IntegerProgram,
        encoders: Iterable[Encoder] = (),
        *,
        multiply: str = "int8",
    ) -> None:
        if multiply not in MULTIPLY:
            raise ValueError(
                f"TritonEngine: multiply must be one of {', '.join(map(repr, MULTIPLY))}, "
                f"got {multiply!r}"
            )
        super().__init__(program, encoders)
        self.multiply = multiply
        self._prepared: dict[tuple[str, torch.device], GpuLayer] = {}

    def pack(self, name: str, train: Tensor) -> Fields:
        from spikeconv.kernels.pack import pack

        _check_device(train)
        return Fields(pack(train, self._bits(name)), len(train))

    def pack_words(self, name: str, words: Tensor, T: int) -> Fields:
        from spikeconv.kernels.pack import pack_words

        _check_device(words)
        return Fields(pack_words(words, T), T)

    def encode(self, encoder: Encoder, given: Unpooled, T: int) -> Fields:
        from spikeconv.kernels.encode import encode

        _check_device(given.x)
        bias = encoder.bias
        if given.x.dtype != torch.float32 or (bias is not None and len(bias) > 1):
            fields: Fields = super().encode(encoder, given, T)
            return fields
        shape = given.shape
        data = encode(
            given.x,
            given.offset,
            given.window(),
            encoder.v_threshold.expand(shape),
            encoder.v_init.expand(shape),
            None if bias is None else bias[0].expand(shape),
            T,
        )
        return Fields(data, T)

    def unpack(self, name: str, spikes: Fields) -> Tensor:
        from spikeconv.kernels.pack import unpack

        channels = self.program.sources[name].shape[0]
        train: Tensor = unpack(spikes.data, self._bits(name), spikes.steps, channels)
        return train

    def run_pool(self, pool: Pool, spikes: Fields) -> Fields:
        from spikeconv.kernels.pool import pool as sums

        data = sums(
            spikes.data,
            self._bits(pool.source),
            spikes.steps,
            self._bits(pool.name),
            pool.kernel,
            pool.stride,
            pool.padding,
            pool.shape[1:],
        )
        return Fields(data, spikes.steps)

    def run_layer(
        self,
        layer: IntegerLayer,
        spikes: Mapping[str, Fields],
        state: State | None,
        *,
        want_spikes: bool,
        want_count: bool,
        want_state: bool,
    ) -> Fired:
        from spikeconv.fuse.gpu_tuning import run
        from spikeconv.kernels.fields import padded, planes_for

        first = spikes[next(layer.sources())]
        like, T, B = first.data, first.steps, first.data.shape[1]
        K, H, W = layer.shape
        prepared = self._on(layer, like.device)

        def integers() -> Tensor:
            return like.new_empty((B, H, W, K), dtype=torch.int32)

        planes = planes_for(T, 2 if layer.signed else 1)
        fired = like.new_empty((planes, B, H, W, padded(K))) if want_spikes else None
        count = integers() if want_count else None
        v_after = integers() if want_state else None
        net_after = integers() if want_state and layer.signed else None
        if B > 0:
            run(
                prepared,
                {name: one.data for name, one in spikes.items()},
                v=prepared.v_init if state is None else channels_last(state.v),
                net=None
                if state is None or state.net_count is None
                else channels_last(state.net_count),
                spikes=fired,
                count=count,
                v_after=v_after,
                net_after=net_after,
                T=T,
                done=0 if state is None else state.done,
                images=B,
            )
        after = None
        if v_after is not None:
            done = T if state is None else state.done + T
            net_count = None if net_after is None else channels_first(net_after)
            after = State(channels_first(v_after), net_count, done)
        return Fired(
            None if fired is None else Fields(fired, T),
            # Dense: what sums it up in floating point rounds by the order in memory.
            None if count is None else channels_first(count).contiguous(),
            after,
        )

    def _bits(self, name: str) -> int:
        from spikeconv.kernels.fields import bits_for

        source = self.program.sources[name]
        bits: int = bits_for(source.largest, source.signed)
        return bits

    def _on(self, layer: IntegerLayer, device: torch.device) -> GpuLayer:
        """The layer on a device; laid out there at the first call."""
        from spikeconv.fuse.gpu_layer import prepare

        key = (layer.name, device)
        if key not in self._prepared:
            self._prepared[key] = prepare(layer, self.program, device, self.multiply)
        return self._prepared[key]


def _check_device(train: Tensor) -> None:
    reason = triton.unavailable(train.device.type)
    if reason is not None:
        raise ValueError(f"TritonEngine: spikes must be where it can run: {reason}")
