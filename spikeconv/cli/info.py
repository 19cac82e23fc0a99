"""spikeconv info: versions, the machine, and which backends can run."""

from __future__ import annotations

import argparse
import os
from typing import Any

from spikeconv.environment import machine, versions
from spikeconv.ops import backends
from spikeconv.ops.backends import named_by_environment
from spikeconv.ops.native import instruction_sets


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("info", help="versions, and which backends can run")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print versions, the machine, and for each backend whether it can run."""
    for name, version in versions().items():
        print(f"{name:<12} {version or 'not installed'}")
    print(f"{'machine':<12} {machine()}")
    print("backends")
    for name, reason in backends().items():
        print(f"  {name:<10} {'can run' if reason is None else f'cannot run: {reason}'}")
    try:
        asked = named_by_environment()
    except ValueError as error:
        print(error)
    else:
        if asked is not None:
            print(f"SPIKECONV_BACKEND asks for {asked}")
    sets = instruction_sets()
    if sets:
        print(f"instruction sets of cpp: {', '.join(sets)}; {_in_use(sets)}")


def _in_use(sets: list[str]) -> str:
    """Which of the instruction sets calls take, as `SPIKECONV_ISA` has it."""
    asked = os.environ.get("SPIKECONV_ISA")
    if not asked:
        return f"{sets[-1]} is taken"
    if asked in sets:
        return f"{asked} is taken, by SPIKECONV_ISA"
    return f"SPIKECONV_ISA asks for {asked}, which is none of them, so calls of cpp will fail"
