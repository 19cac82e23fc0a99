"""A program as JSON, and back: calls that are known, in an order in which they can run."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from spikeconv.files.malformed import Malformed
from spikeconv.files.records import decode_record, encode_record
from spikeconv.files.steps import LARGEST, check_key, check_shape, rebuild_step
from spikeconv.files.values import check_name, decode, encode, short
from spikeconv.network.phases import assign_phases
from spikeconv.network.program import Input, Phase, Program, Step, refs

_PROGRAM = {"inputs", "output", "widest", "fixed_size"}


def describe_program(program: Program) -> dict[str, Any]:
    """A program as JSON has it; its steps are described one by one.

    Raises:
        TypeError: its output has no form in a file.
    """
    return {
        "inputs": [encode_record(item) for item in program.inputs],
        "output": encode(program.output),
        "widest": program.widest,
        "fixed_size": program.fixed_size,
    }


def rebuild_program(
    description: Any,
    described_steps: Any,
    layers: Container[str],
    neurons: Container[str],
    constants: Container[str],
) -> Program:
    """The program that was described.

    Args:
        description: as `describe_program` gives it.
        described_steps: a list of what `describe_step` gives for each.
        layers, neurons, constants: names of those that there are.

    Raises:
        Malformed: it describes none that could run.
    """
    if not isinstance(description, dict) or set(description) != _PROGRAM:
        raise Malformed(f"{short(description)} is no program")
    if not isinstance(description["inputs"], list) or not description["inputs"]:
        raise Malformed("a program must have inputs")
    inputs = tuple(decode_record(Input, item) for item in description["inputs"])
    for item in inputs:
        check_key(item.name)
        check_name(item.argument, "an input")
        check_shape(item.shape)
    if len({item.argument for item in inputs}) < len(inputs):
        raise Malformed("two inputs have one name")
    if not any(item.dtype.is_floating_point for item in inputs):
        raise Malformed("none of the inputs is floating-point")
    if not isinstance(described_steps, list):
        raise Malformed("a program must have steps")
    steps = tuple(rebuild_step(item, layers, neurons, constants) for item in described_steps)
    output = decode(description["output"])
    _check_order(inputs, steps, output)
    widest, fixed = description["widest"], description["fixed_size"]
    if type(widest) is not int or not 0 <= widest <= LARGEST or not isinstance(fixed, bool):
        raise Malformed(f"{short(widest)} values, {short(fixed)} are no sizes of a program")
    return Program(steps, output, inputs, widest, fixed)


def _check_order(inputs: tuple[Input, ...], steps: tuple[Step, ...], output: Any) -> None:
    """Raise Malformed where a value is read before it is there, or in a phase that has it not."""
    reads: dict[str, list[str]] = {}
    for item in inputs:
        _add(reads, item.name, [])
    for step in steps:
        read = [ref.name for ref in refs((step.args, step.kwargs))]
        unknown = [name for name in read if name not in reads]
        if unknown:
            raise Malformed(f"step {step.name}: it reads {short(unknown[0])}, which is not there")
        _add(reads, step.name, read)
    unknown = [ref.name for ref in refs(output) if ref.name not in reads]
    if unknown:
        raise Malformed(f"the output reads {short(unknown[0])}, which is not there")
    constant = {step.name for step in steps if step.phase is Phase.CONSTANT}
    for name in constant:
        if not constant.issuperset(reads[name]):
            raise Malformed(f"step {name}: it is no constant, as it reads what is none")
    phases = assign_phases(reads, {s.name for s in steps if s.kind == "neuron"}, constant)
    for step in steps:
        if step.kind == "constant" and step.phase is not Phase.CONSTANT:
            raise Malformed(f"step {step.name}: a weight is a constant")
        if step.phase is not phases[step.name]:
            right = phases[step.name].value
            raise Malformed(f"step {step.name}: its phase is {right}, not {step.phase.value}")


def _add(reads: dict[str, list[str]], name: str, read: list[str]) -> None:
    if name in reads:
        raise Malformed(f"two steps have the name {short(name)}")
    reads[name] = read
