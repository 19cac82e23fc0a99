"""The command line, one file a command: spikeconv train, evaluate, demo, info."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from spikeconv.cli import demo, evaluate, info, train

COMMANDS = (train, evaluate, demo, info)
"""Modules with ``add(commands)``, which adds a parser whose ``run`` takes the arguments."""

# What a user can cause and correct; anything else is a bug and keeps its traceback.
USER_ERRORS = (ValueError, OSError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 for a user's error, 130 when interrupted.

    Args:
        argv: arguments without the program's name; None for those of the process. None at all
            is ``info``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log shows each stage when it begins
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(arguments or ["info"])
    try:
        args.run(args)
    except USER_ERRORS as error:
        print(f"spikeconv: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"spikeconv: interrupted{f'; {stop}' if stop.args else ''}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "spikeconv", description="Trained ReLU networks to spiking networks."
    )
    commands = parser.add_subparsers(title="commands", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
