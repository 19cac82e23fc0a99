"""spikeconv info: versions, the machine, and which backends can run."""

from __future__ import annotations

import argparse
from typing import Any

from spikeconv.environment import machine, versions
from spikeconv.ops import backends


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
