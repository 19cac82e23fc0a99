"""A spiking network as JSON and tensors: what a file of it holds, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spikeconv.files.modules import describe_module
from spikeconv.files.neurons import describe_neurons
from spikeconv.files.programs import describe_program
from spikeconv.files.records import encode_record
from spikeconv.files.steps import describe_step
from spikeconv.files.tensors import Collected
from spikeconv.network.parts import Parts

# Of the form that a description has. A reader knows its own alone.
VERSION = 1
# Of a call that does not say how many, and before its readout: few enough to end.
MOST_STEPS = 2**16

_ADVICE = (
    "a file names single layers of torch.nn (no Transformer, nor its encoders and decoders) and "
    "functions of torch, so that opening it runs no code. Write these parts with them and convert "
    "once more, or keep the module as it is with "
    "torch.save(snn, path)"
)


def describe(parts: Parts, function: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description of a network, and the tensors that it refers to by name.

    Tensors are contiguous, on the CPU, and share no memory.

    Args:
        parts: of the network.
        function: whose error it is where something cannot be described.

    Raises:
        TypeError: with everything in the network that has no form in a file.
        ValueError: neurons with NaN in them, or more steps than a reader takes.
    """
    if parts.T > MOST_STEPS:
        raise ValueError(
            f"{function}: T must be at most {MOST_STEPS} in a file, got {parts.T}; convert for "
            "fewer steps, and give T with the call"
        )
    collected, problems = Collected(), _Problems()
    layers: dict[str, Any] = {}
    seen: dict[nn.Module, str] = {}

    def layer(name: str, module: nn.Module, folder: str) -> dict[str, Any]:
        return describe_module(module, f"{folder}.{name}", collected)

    for name, module in parts.layers.items():
        if module in seen:  # a layer that is called twice
            layers[name] = {"same": seen[module]}
            continue
        seen[module] = name
        layers[name] = problems.noted(f"layer {name}", layer, name, module, "layers")
    originals = {
        name: problems.noted(f"layer {name}", layer, name, module, "originals")
        for name, module in parts.originals.items()
    }
    neurons = {
        name: problems.noted(
            f"neurons {name}", describe_neurons, node, f"neurons.{name}", collected
        )
        for name, node in parts.neurons.items()
    }
    constants = {
        name: problems.noted(f"weight {name}", collected.add, f"constant_{name}", value)
        for name, value in parts.constants.items()
    }
    steps = [
        problems.noted(f"step {step.name}", describe_step, step) for step in parts.program.steps
    ]
    description = {
        "kind": parts.kind,
        "T": parts.T,
        "timing": encode_record(parts.timing),
        "precision": parts.precision,
        "program": problems.noted("the output", describe_program, parts.program),
        "steps": steps,
        "layers": layers,
        "originals": originals,
        "neurons": neurons,
        "constants": constants,
        "report": problems.noted("the report", encode_record, parts.report),
    }
    problems.check(function)
    return description, collected.tensors


class _Problems:
    """What cannot be described, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def noted(self, where: str, function: Callable[..., Any], *args: Any) -> Any:
        """What a function gives; a TypeError of it becomes a problem."""
        try:
            return function(*args)
        except TypeError as error:
            self.found.append(f"{where}: {error}")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        return None

    def check(self, function: str) -> None:
        """Raise TypeError with all problems."""
        if self.found:
            count = len(self.found)
            parts = "1 part" if count == 1 else f"{count} parts"
            told = "".join(f"\n- {problem}" for problem in self.found)
            raise TypeError(
                f"{function}: {parts} of the network cannot be written: {_ADVICE}.{told}"
            )
