"""The same network simulated the obvious way: every layer at every step, neurons in plain torch.

What others do, and what our savings are measured and tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, batch_of
from spikeconv.network.layers import PoolState, temporal_max_pool
from spikeconv.network.network import READOUTS, SpikingNetwork
from spikeconv.network.program import Phase, fill
from spikeconv.network.run_step import run_step
from spikeconv.network.structure import map_tensors
from spikeconv.neuron import IFNode
from spikeconv.ops.call import state_dtype


class TorchIF(nn.Module):
    """An `IFNode` as a stateful module in plain torch: one step a call, returns theta * spike."""

    def __init__(self, node: IFNode) -> None:
        super().__init__()
        self.node = node
        self.reset()

    def reset(self) -> None:
        """Forget the state."""
        self.v: Tensor | None = None
        self.net_count: Tensor | None = None
        self.done = 0

    def forward(self, x: Tensor) -> Tensor:
        """Postsynaptic potential of one time-step, for its current x ``[B, *]``."""
        theta = self.node.v_threshold
        v = self.node.v_init if self.v is None else self.v
        m = v + x.to(state_dtype(x))
        bias = self._bias()
        m = m if bias is None else m + bias
        s = (m >= theta).to(m.dtype)
        if self.node.signed:
            count = torch.zeros_like(m) if self.net_count is None else self.net_count
            s = s - ((m < 0) & (count > 0)).to(m.dtype)
            self.net_count = count + s
        psp = theta * s
        self.v = m - psp
        self.done += 1
        return psp.to(x.dtype)

    def _bias(self) -> Tensor | None:
        """What is added in this step besides the current."""
        bias, each_step = self.node.bias, self.node.step_bias
        if each_step is None or self.done >= len(each_step):
            return bias
        now = each_step[self.done]
        return now if bias is None else now.to(torch.promote_types(now.dtype, torch.float32)) + bias


class NaiveSimulation(nn.Module):
    """A `SpikingNetwork` without any of its savings, and with other neurons where wanted.

    It reads every step, as others do, so the network must have no step before its readout.

    Args:
        network: the network to simulate; its layers and thresholds are shared, not copied.
        make_neuron: from an `IFNode`, a stateful module that maps currents to postsynaptic
            potentials theta * spike, with a method ``reset()``.
        multi_step: call each neuron once with all time-steps ``[T, B, *]``, and each layer once on
            ``[T * B, *]``; otherwise run the whole network step by step on ``[B, *]``.

    Raises:
        ValueError: the network has an analog operation after its last neuron, which is defined on
            the mean over time only.
    """

    def __init__(
        self,
        network: SpikingNetwork,
        make_neuron: Callable[[IFNode], nn.Module] = TorchIF,
        multi_step: bool = False,
    ) -> None:
        super().__init__()
        if network.timing.before:
            raise ValueError(
                "NaiveSimulation: network must be read at every step, "
                f"got one with {network.timing}"
            )
        after = [s for s in network.program.phase(Phase.READOUT) if s.analog]
        if after:
            raise ValueError(
                f"NaiveSimulation: network must be linear after its last neuron, got "
                f"{after[0].analog} at {after[0].label}"
            )
        self.network = network
        self.neurons = nn.ModuleDict(
            {name: make_neuron(node) for name, node in network.populations().items()}
        )
        self.multi_step = multi_step

    def forward(self, *inputs: Tensor, T: int | None = None, readout: str = "mean") -> Any:
        """As `SpikingNetwork.forward`."""
        if readout not in READOUTS:
            raise ValueError(f"NaiveSimulation: readout must be one of {READOUTS}, got {readout!r}")
        x = batch_of(inputs)
        steps = self.network.T if T is None else T
        for neuron in self.neurons.values():
            cast(Callable[[], None], neuron.reset)()
        pools: dict[str, PoolState] = {}
        if self.multi_step:
            repeated = batch_of(
                tensor.expand(steps, *tensor.shape).flatten(0, 1) for tensor in inputs
            )
            folded = self._run(repeated, steps, pools)
            outputs = map_tensors(lambda y: y.unflatten(0, (steps, len(x))), folded)
        else:
            each = [self._run(x, 1, pools) for _ in range(steps)]
            outputs = map_tensors(lambda *ys: torch.stack(ys), *each)
        if readout == "mean":
            return map_tensors(lambda y: y.mean(0), outputs)
        return map_tensors(_running_mean, outputs)

    def _run(self, x: Batch, n: int, pools: dict[str, PoolState]) -> Any:
        """Output ``[n * B, *]`` of n time-steps; one step where the neurons are single-step."""
        values = self.network.program.bind(x)
        weights = self.network.weights()
        for step in self.network.program.steps:
            if step.kind == "constant":
                values[step.name] = weights[step.target]
                continue
            args = fill(step.args, values.__getitem__)
            kwargs = fill(step.kwargs, values.__getitem__)
            if step.kind == "neuron":
                neuron, current = self.neurons[step.name], args[0]
                if self.multi_step:
                    values[step.name] = neuron(current.unflatten(0, (n, -1))).flatten(0, 1)
                else:
                    values[step.name] = neuron(current)
            elif step.kind == "max_pool" and step.phase is not Phase.STATIC:
                state = pools.setdefault(step.name, PoolState())
                pool = self.network.layers[step.target]
                pooled = temporal_max_pool(pool, args[0].unflatten(0, (n, -1)), state)
                values[step.name] = pooled.flatten(0, 1)
            else:
                values[step.name] = run_step(step, self.network.layers, args, kwargs)
            del args, kwargs
            for name in self.network.program.last_reads[step.name]:
                values.pop(name, None)
        return fill(self.network.program.output, values.__getitem__)


def _running_mean(y: Tensor) -> Tensor:
    steps = torch.arange(1, len(y) + 1, device=y.device).view(-1, *[1] * (y.dim() - 1))
    return (y.cumsum(0) / steps).to(y.dtype)
