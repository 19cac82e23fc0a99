"""A network whose calls are replayed as graphs: for small batches, where launches take longest.

Here is the bookkeeping: what a graph is looked up by, and when it is captured anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, tensors_of
from spikeconv.changes import Watch
from spikeconv.network.cuda_graph import CudaGraphs, Run
from spikeconv.network.monitor import monitor_of
from spikeconv.precision import tf32_settings


class Graphable(nn.Module):
    """A network that is called with inputs, T and readout, and whose calls can be captured.

    Attributes:
        T: time-steps of a call that does not say.
    """

    T: int

    def _given(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> Batch:
        """The batch that a call is given, checked."""
        raise NotImplementedError

    def _read_by(self, batch: Batch, T: int) -> object:
        """What a call that is replayed reads, and the network itself may forget."""
        return None

    def graph(self, *example: Tensor, **named: Tensor) -> GraphedNetwork:
        """The same network with its calls replayed as CUDA graphs: the quickest for small batches.

        Args:
            example: a batch on a GPU, as in a call; a graph is captured for its shape at once.
            named: as in a call.

        Returns:
            What is called like the network. Each new shape, T or readout is captured at its first
            call; changes of weights, thresholds or options are noticed at the next.

        Raises:
            TypeError, ValueError: as a call; the example is not on a GPU.
            RuntimeError: a layer waits for the GPU, so that it cannot be captured.

        Example:
            >>> import spikeconv
            >>> images = torch.rand(32, 4)
            >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            >>> snn = spikeconv.convert(ann, images, T=8, progress=False)
            >>> if torch.cuda.is_available():
            ...     fast = snn.cuda().graph(images.cuda())
            ...     classes = fast(images.cuda()).argmax(1)
        """
        return GraphedNetwork(self, self._given(example, named), CudaGraphs())


class Capturing(Protocol):
    """What captures calls: `CudaGraphs`."""

    def check(self, inputs: Sequence[Tensor]) -> None: ...

    def capture(self, run: Run, inputs: Sequence[Tensor]) -> Run: ...

    def forget(self) -> None: ...


class GraphedNetwork:
    """A network's calls as graphs: one for each shape of inputs, T and readout.

    The first call of a kind captures its graph, which takes a few calls; those that follow copy
    their inputs into the graph's buffers, replay it and return a copy of its outputs. The network
    may change in between: where parameters, buffers, layers, neurons' options or its timing did,
    all graphs are captured anew at the next call. What else a layer keeps in attributes of its own
    is not looked at: call `clear` after changing it. Calls of several threads wait for one another.

    `SpikingNetwork.graph` makes one.

    Args:
        network: what is captured.
        example: a first batch.
        graphs: captures and replays.
        limit: graphs that are kept, 1 or more; the one that was not used for longest goes.
    """

    def __init__(
        self, network: Graphable, example: Batch, graphs: Capturing, limit: int = 16
    ) -> None:
        self.network = network
        self._graphs = graphs
        self._limit = limit
        # With what each of them reads, which must live as long.
        self._replays: OrderedDict[tuple[Any, ...], tuple[Run, object]] = OrderedDict()
        self._watch = Watch()
        self._timing: Any = None
        self._lock = threading.Lock()
        self._run(example, None, "mean")

    def __call__(
        self, *inputs: Tensor, T: int | None = None, readout: str = "mean", **named: Tensor
    ) -> Any:
        """As `SpikingNetwork.forward`, on inputs on a GPU."""
        return self._run(self.network._given(inputs, named), T, readout)

    def clear(self) -> None:
        """Forget all graphs and their memory."""
        with self._lock:
            self._forget()

    def __len__(self) -> int:
        """Graphs that are held."""
        return len(self._replays)

    def _run(self, batch: Batch, T: int | None, readout: str) -> Any:
        tensors = tensors_of(batch)
        self._graphs.check(tensors)
        if monitor_of(self.network) is not None:
            raise ValueError(
                "SpikingNetwork.graph: a graph must not be called inside monitor(), because a "
                "replay counts nothing; call the network itself there"
            )

        def run(inputs: Sequence[Tensor]) -> Any:
            return self.network(*inputs, T=T, readout=readout)

        if len(batch) == 0:
            return run(tensors)
        with self._lock:
            timing = getattr(self.network, "timing", None)
            if self._watch.changed(self.network.modules()) or timing != self._timing:
                self._forget()
                self._timing = timing
            steps = self.network.T if T is None else T
            key = call_key(tensors, steps, readout)
            if key not in self._replays:
                captured = self._graphs.capture(run, tensors)
                self._replays[key] = captured, self.network._read_by(batch, steps)
                while len(self._replays) > self._limit:
                    self._replays.popitem(last=False)
            self._replays.move_to_end(key)
            replay, _ = self._replays[key]
            return replay(tensors)

    def _forget(self) -> None:
        self._graphs.forget()  # first: it waits for what the replays' memory may still serve
        self._replays.clear()


def call_key(inputs: Sequence[Tensor], T: int, readout: str) -> tuple[Any, ...]:
    """Everything that makes another graph of a call.

    >>> x = torch.zeros(2, 3)
    >>> call_key([x], 4, "mean") == call_key([x + 1], 4, "mean")
    True
    >>> call_key([x], 4, "mean") == call_key([x], 8, "mean")
    False
    """
    kind = inputs[0].device.type
    mixed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    layout = [(tuple(x.shape), x.stride(), x.dtype, x.device) for x in inputs]
    # What is wrong is for the network to say.
    return (*layout, repr(T), repr(readout), mixed, *tf32_settings())
