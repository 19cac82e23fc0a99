"""Other people's neurons in the same network: what `throughput.py` measures ours against.

Each is given its fastest form. In eager mode plain torch runs the network step by step, where a
step's tensors stay in the cache, with the fewest passes over them. Compiled torch and SpikingJelly
take all time-steps of a layer at once and fold them into the batch of the convolutions. What is
compiled are the neurons: around convolutions, which are library calls, there is little to fuse, and
to compile a whole network unrolled in time would take minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from rivals import spikingjelly_missing
from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.neuron import IFNode

Population = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Input current [T, B, C, *], v_threshold and v_init (0-dim or [C, 1, ...]) to theta * spikes."""


class StepNeuron(nn.Module):
    """Plain torch, one time-step a call: four passes, of which three are in place."""

    def __init__(self, node: IFNode) -> None:
        super().__init__()
        self.v_threshold, self.v_init = node.v_threshold, node.v_init
        self.v: Tensor | None = None

    def reset(self) -> None:
        """Forget the membrane."""
        self.v = None

    def forward(self, x: Tensor) -> Tensor:
        """Current [B, *] of one step to theta * spikes."""
        if self.v is None:
            self.v = self.v_init.expand_as(x).clone()
        self.v.add_(x)
        psp = torch.empty_like(x)
        torch.ge(self.v, self.v_threshold, out=psp)
        self.v.sub_(psp.mul_(self.v_threshold))
        return psp


class SpikingJellyNode(nn.Module):
    """SpikingJelly's `IFNode` as its constructor makes it, one time-step a call; soft reset.

    It has one threshold and starts at 0, so currents are divided by the threshold before it and
    spikes multiplied behind it, where SpikingJelly's own converter puts its scalers, and its
    membrane is set.
    """

    def __init__(self, node: IFNode) -> None:
        super().__init__()
        self.v_threshold, self.v_init = node.v_threshold, node.v_init
        neurons: Any = import_module("spikingjelly.activation_based.neuron")
        self.node: Any = neurons.IFNode(v_reset=None).eval()
        self.begun = False

    def reset(self) -> None:
        """Forget the membrane."""
        self.node.reset()
        self.begun = False

    def forward(self, x: Tensor) -> Tensor:
        """Current [B, *] of one step to theta * spikes."""
        x = x / self.v_threshold
        if not self.begun:
            self.node.v = (self.v_init / self.v_threshold).expand_as(x).clone()
            self.begun = True
        spikes: Tensor = self.node(x)
        return spikes * self.v_threshold


class MultiStepNeuron(nn.Module):
    """An `IFNode`'s parameters in a function over all time-steps."""

    def __init__(self, node: IFNode, population: Population) -> None:
        super().__init__()
        self.population = population
        self.v_threshold, self.v_init = node.v_threshold, node.v_init

    def reset(self) -> None:
        """Nothing is kept."""

    def forward(self, x: Tensor) -> Tensor:
        """Current [T, B, *] to theta * spikes."""
        return self.population(x, self.v_threshold, self.v_init)


def torch_population(x: Tensor, v_threshold: Tensor, v_init: Tensor) -> Tensor:
    """The loop without mutation: the form that torch.compile turns into one kernel."""
    v = v_init.expand_as(x[0])
    steps = []
    for current in x.unbind(0):
        v = v + current
        psp = torch.where(v >= v_threshold, v_threshold, 0.0)
        steps.append(psp)
        v = v - psp
    return torch.stack(steps)


def spikingjelly_population(x: Tensor, v_threshold: Tensor, v_init: Tensor) -> Tensor:
    """SpikingJelly's leanest multi-step neuron: `ActivationAwareIFNode`, in its functional form.

    It takes a threshold per channel, starts from any potential, and keeps no trace, where its
    `IFNode` needs a scaling before and after and writes the membrane of every step. Its spikes are
    0 and 1, so the amplitude is one multiplication behind it.
    """
    functional: Any = import_module("spikingjelly.activation_based.functional")
    channels = v_threshold.numel()
    inner = x[0, 0].numel() // channels if channels > 1 else x[0].numel()
    spikes: Tensor = functional.activation_aware_if_multi_step(
        x,
        v_init.expand_as(x[0]),
        v_threshold.flatten(),
        torch.zeros((), device=x.device),
        channels,
        inner,
        v_reset=None,
    )[0]
    return spikes * v_threshold


def rival_networks(
    snn: SpikingNetwork, compiler: str = "inductor"
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The same network with other neurons, by name; and who cannot be built here, with the reason.

    Args:
        snn: soft reset, no bias, unsigned, float32.
        compiler: backend of torch.compile.
    """
    # One compilation for every shape of layer; past the limit torch would go on uncompiled.
    torch._dynamo.config.recompile_limit = 64

    def multi_step(population: Population) -> nn.Module:
        make_neuron = partial(MultiStepNeuron, population=population)
        return NaiveSimulation(snn, make_neuron, multi_step=True)

    def compiled(population: Population) -> nn.Module:
        return multi_step(torch.compile(population, dynamic=False, backend=compiler))

    networks = {
        "torch-loop": NaiveSimulation(snn, StepNeuron),
        "torch-loop-compiled": compiled(torch_population),
    }
    missing = spikingjelly_missing()
    if missing is not None:
        return networks, dict.fromkeys(("spikingjelly", "spikingjelly-compiled"), missing)
    networks["spikingjelly"] = multi_step(spikingjelly_population)
    networks["spikingjelly-compiled"] = compiled(spikingjelly_population)
    return networks, {}


def spikingjelly_default(snn: SpikingNetwork) -> nn.Module:
    """The network as somebody builds it who takes SpikingJelly's neuron as it comes."""
    return NaiveSimulation(snn, SpikingJellyNode)
