"""Layers and networks of other libraries as they come, each beside a copy with our neurons."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from networks import Images, fit
from spikeconv import replace_neurons
from spikeconv.models import build_model

Run = Callable[[Any], Tensor]
"""One call of a layer or a network, from its reset state, to what is compared."""

LIBRARIES = ("spikingjelly", "snntorch", "sinabs", "norse")


@dataclass(frozen=True)
class Case:
    """Something of another library, and how it is called.

    Args:
        library: one of `LIBRARIES`.
        layer: what it is.
        mode: how time is called: "multi-step", "single-step", or one of them with "training".
        neurons: of one step, over the batch.
        theirs: as it comes.
        ours: a copy with our neurons.
        run: one call of either.
    """

    library: str
    layer: str
    mode: str
    neurons: int
    theirs: Any
    ours: Any
    run: Run

    @property
    def key(self) -> str:
        """Unique among the cases of one run."""
        return f"{self.library} {self.layer}, {self.mode}, {self.neurons} neurons"

    @property
    def training(self) -> bool:
        """Whether a call includes the backward pass."""
        return "training" in self.mode


def missing(library: str) -> str | None:
    """None where a library is installed, else what to do."""
    if find_spec(library) is None:
        return f"{library} is not installed (pip install -r requirements/drop-in.txt)"
    return None


def layers(library: str, T: int, neurons: int, device: torch.device) -> Iterator[Case]:
    """The cases of one library's layers on currents [T, neurons]."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(T, neurons, generator=generator) * 0.5 + 0.3).to(device)

    def case(layer: str, mode: str, theirs: nn.Module, run: Run) -> Case:
        theirs = theirs.to(device)
        return Case(library, layer, mode, neurons, theirs, _replaced(theirs), run)

    yield from _LAYERS[library](x, case)


def network(T: int, batch: int, size: int, device: torch.device) -> Iterator[Case]:
    """A ResNet-20 of SpikingJelly's own converter: thresholds by channel, potentials at half.

    With projections where the shape changes: the converter knows no padding.
    """
    ann2snn: Any = import_module("spikingjelly.activation_based.ann2snn")
    functional: Any = import_module("spikingjelly.activation_based.functional")
    images = Images(size)
    torch.manual_seed(0)
    ann = fit(build_model("resnet20", num_classes=10, shortcut="B"), images)
    recipe = ann2snn.RateCodingRecipe(
        [images.draw(16, seed=1)], mode="99.9%", channel_wise=True, half_threshold=True
    )
    theirs = ann2snn.Converter(recipe).convert(ann).eval().to(device)
    x = images.draw(batch, seed=2)[0].to(device)
    for mode in ("multi-step", "single-step"):
        theirs = copy.deepcopy(theirs)
        functional.set_step_mode(theirs, mode[0])

        def run(net: nn.Module, multi: bool = mode == "multi-step") -> Tensor:
            functional.reset_net(net)
            if multi:
                return net(x.expand(T, *x.shape))  # type: ignore[no-any-return]
            return torch.stack([net(x) for _ in range(T)])

        layer = f"ann2snn ResNet-20, batch {batch}"
        yield Case("spikingjelly", layer, mode, x.numel(), theirs, _replaced(theirs), run)


def _replaced(theirs: nn.Module) -> nn.Module:
    ours = copy.deepcopy(theirs)
    report = replace_neurons(ours)
    if report.left or not report.replaced:
        raise RuntimeError(f"this benchmark is of layers that are replaced: {report}")
    return ours


def _spikingjelly(x: Tensor, case: Callable[..., Case]) -> Iterator[Case]:
    neuron: Any = import_module("spikingjelly.activation_based.neuron")

    def multi(node: Any) -> Tensor:
        node.reset()
        return node(x)  # type: ignore[no-any-return]

    def single(node: Any) -> Tensor:
        node.reset()
        return torch.stack([node(current) for current in x])

    theta = torch.rand(x.shape[1], generator=torch.Generator().manual_seed(1)) + 0.5
    kinds: dict[str, Callable[[str], nn.Module]] = {
        "IFNode, soft reset": lambda m: neuron.IFNode(v_reset=None, step_mode=m),
        "IFNode, hard reset": lambda m: neuron.IFNode(step_mode=m),
        "HalfThresholdIFNode": lambda m: neuron.HalfThresholdIFNode(step_mode=m),
        "ActivationAwareIFNode": lambda m: neuron.ActivationAwareIFNode(theta, step_mode=m),
    }
    for name, make in kinds.items():
        yield case(name, "multi-step", make("m"), multi)
        yield case(name, "single-step", make("s"), single)
    for name in ("IFNode, soft reset", "IFNode, hard reset"):
        yield case(name, "multi-step training", kinds[name]("m"), _trained(multi, x))
        yield case(name, "single-step training", kinds[name]("s"), _trained(single, x))


def _snntorch(x: Tensor, case: Callable[..., Case]) -> Iterator[Case]:
    snn: Any = import_module("snntorch")

    def single(lif: Any) -> Tensor:
        lif.reset_mem()
        mem = lif.init_leaky()
        spikes = []
        for current in x:
            spk, mem = lif(current, mem)
            spikes.append(spk)
        return torch.stack(spikes)

    for mechanism in ("subtract", "zero"):
        make = snn.Leaky(beta=1.0, reset_mechanism=mechanism)
        yield case(f"Leaky, {mechanism}", "single-step", make, single)
        yield case(f"Leaky, {mechanism}", "single-step training", make, _trained(single, x))


def _sinabs(x: Tensor, case: Callable[..., Case]) -> Iterator[Case]:
    sl: Any = import_module("sinabs.layers")
    single: Any = import_module("sinabs.activation").SingleSpike
    in_rows = x.view(len(x), 1, -1).transpose(0, 1).contiguous()  # [B = 1, T, N]

    def multi(layer: Any) -> Tensor:
        layer.v_mem = torch.zeros(0, device=x.device)
        return layer(in_rows)  # type: ignore[no-any-return]

    def squeezed(layer: Any) -> Tensor:
        layer.v_mem = torch.zeros(0, device=x.device)
        return layer(in_rows.flatten(0, 1))  # type: ignore[no-any-return]

    plain, floor = sl.IAF(spike_fn=single), sl.IAF(spike_fn=single, min_v_mem=-1.0)
    yield case("IAF", "multi-step", plain, multi)
    yield case("IAF, min_v_mem=-1", "multi-step", floor, multi)
    yield case("IAFSqueeze", "multi-step", sl.IAFSqueeze(batch_size=1, spike_fn=single), squeezed)
    yield case("IAF", "multi-step training", plain, _trained(multi, in_rows))


def _norse(x: Tensor, case: Callable[..., Case]) -> Iterator[Case]:
    norse: Any = import_module("norse.torch")

    def multi(layer: Any) -> Tensor:
        return layer(x)[0]  # type: ignore[no-any-return]

    def single(layer: Any) -> Tensor:
        state, spikes = None, []
        for current in x:
            z, state = layer(current, state)
            spikes.append(z)
        return torch.stack(spikes)

    yield case("IAF", "multi-step", norse.IAF(), multi)
    yield case("IAFCell", "single-step", norse.IAFCell(), single)
    yield case("IAF", "multi-step training", norse.IAF(), _trained(multi, x))
    yield case("IAFCell", "single-step training", norse.IAFCell(), _trained(single, x))


_LAYERS = {
    "spikingjelly": _spikingjelly,
    "snntorch": _snntorch,
    "sinabs": _sinabs,
    "norse": _norse,
}


def _trained(run: Run, x: Tensor) -> Run:
    """The same with a backward pass; spikes and x's gradient are compared."""

    def forward_and_back(layer: Any) -> Tensor:
        with torch.enable_grad():
            x.requires_grad_()
            spikes = run(layer)
            (gradient,) = torch.autograd.grad(spikes, x, torch.ones_like(spikes))
            x.requires_grad_(False)
        return torch.stack((spikes.detach().view_as(gradient), gradient))

    return forward_and_back
