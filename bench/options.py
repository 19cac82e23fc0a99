"""Options that several scripts take, so that they mean the same in all of them."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ours import BACKENDS, DTYPES
from spikeconv import backends
from spikeconv.cli.arguments import positive


def script_parser(
    doc: str | None, *, rounds: int | None, json_required: bool = False
) -> argparse.ArgumentParser:
    """A parser that every script starts from: --rounds, --json and --smoke.

    Args:
        doc: of the script, whose first line describes it.
        rounds: default of --rounds; None where it depends on other options.
        json_required: whether it goes on from what the file holds, and so cannot do without.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument(
        "--rounds", type=positive, default=rounds, help="samples of each contestant"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", required=json_required, help="file to write"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny: does it run at all")
    return parser


def add_device(parser: argparse.ArgumentParser, default: str) -> None:
    """Where it runs: --device, which is refused where there is none."""
    parser.add_argument("--device", type=_present, choices=BACKENDS, default=default)


def _present(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch finds no CUDA GPU here; use --device cpu")
    return device


def add_allocator(parser: argparse.ArgumentParser) -> None:
    """How memory is had that is freed and asked for again."""
    parser.add_argument(
        "--allocator", choices=("warm", "default"), default="warm",
        help="warm: glibc keeps freed memory, so that page faults are not what is timed",
    )  # fmt: skip


def add_population(parser: argparse.ArgumentParser, *, T: int, N: int) -> None:
    """One population, and where it runs: --T, --N, --dtypes, --backends, --device and --threads."""
    parser.add_argument("--T", type=positive, default=T, help="time-steps")
    parser.add_argument("--N", type=positive, default=N, help="neurons")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    parser.add_argument("--backends", nargs="+", choices=backends(), help="of ours")
    add_device(parser, "cpu")
    parser.add_argument("--threads", type=positive, default=1)


def torch_compiler(smoke: bool) -> str:
    """Backend of torch.compile; a smoke run only traces: to compile takes half a minute."""
    return "aot_eager" if smoke else "inductor"
