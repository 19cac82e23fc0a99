"""What several commands share: types of arguments, the device, the threads."""

from __future__ import annotations

import argparse
import math

import torch

from spikeconv.calibrate import INITIAL_POTENTIALS


def positive(text: str) -> int:
    """Parse a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of 1 or more, got {text!r}")
    return value


def v_init(text: str) -> str | float:
    """Parse the name of an initial potential, or a finite number in units of theta."""
    if text in INITIAL_POTENTIALS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        names = ", ".join(INITIAL_POTENTIALS)
        raise argparse.ArgumentTypeError(f"wanted {names} or a number, got {text!r}")
    return value


def numbers(text: str) -> tuple[float, ...]:
    """Parse numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"wanted numbers with commas between them, got {text!r}"
        ) from None


def set_threads(threads: int | None) -> None:
    """Let torch use so many CPU threads; None leaves it its own choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Raise ValueError where the asked-for device is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA GPU here; use --device cpu")
