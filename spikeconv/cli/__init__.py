"""The command line, one file a command: spikeconv train, evaluate, compact, plot, demo, info."""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
from collections.abc import Sequence

from spikeconv.allocator import keep_freed_memory
from spikeconv.cli import compact, demo, evaluate, info, plot, train
from spikeconv.ops.backends import named_by_environment
from spikeconv.ops.native import check_instruction_set
from spikeconv.processes import ProcessLost

COMMANDS = (train, evaluate, compact, plot, demo, info)
"""Modules with ``add(commands)``, which adds a parser whose ``run`` takes the arguments."""

# What a user can cause and correct; anything else is a bug and keeps its traceback.
USER_ERRORS = (ValueError, OSError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 for a user's error, 130 when interrupted.

    1 where another of the processes that torchrun started is lost, or nobody reads what is printed.

    Args:
        argv: arguments without the program's name; None for those of the process. None at all
            is ``info``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log shows each stage when it begins
    if argv is None:
        keep_freed_memory()  # 7 of 31 s of `evaluate --T 16 --limit 1500` would be page faults
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(arguments or ["info"])
    try:
        if args.run is not info.run:  # which tells of them itself
            named_by_environment()
            check_instruction_set()
        args.run(args)
    except ProcessLost as error:
        return _said(str(error), 1)
    except USER_ERRORS as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 1
        return _said(str(error), 2)
    except KeyboardInterrupt as stop:
        return _said(f"interrupted{f'; {stop}' if stop.args else ''}", 130)
    return 0


def _nobody_reads() -> bool:
    """Whether it is the standard output that is broken, as of `| head`; then nothing is printed to
    it any more, which Python would try when it ends."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # it is no file
        return False
    poll = select.poll()
    poll.register(output, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _said(message: str, code: int) -> int:
    """Say why the command ends, and in which process if it is not the first; return the code."""
    rank = os.environ.get("RANK", "0") if "TORCHELASTIC_RUN_ID" in os.environ else "0"
    print(f"spikeconv: {'' if rank == '0' else f'rank {rank}: '}{message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "spikeconv", description="Trained ReLU networks to spiking networks."
    )
    commands = parser.add_subparsers(title="commands", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
