"""What several commands share: types of arguments, the device, the threads."""

from __future__ import annotations

import argparse
import math

import torch

from spikeconv.calibrate import INITIAL_POTENTIALS
from spikeconv.calibrate.correct import CORRECTION_NAMES
from spikeconv.early_exit import check_confidence
from spikeconv.train.recipe import MOST_SEED

_MOST_THREADS = 1024


def positive(text: str) -> int:
    """Parse a whole number of 1 or more."""
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"wanted a whole number of {least} or more, got {text!r}")
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


def steps(text: str) -> int:
    """Parse a whole number of 0 or more."""
    return _whole(text, 0)


def corrections(text: str) -> tuple[str, ...]:
    """Parse names of corrections with commas between them; "none" is no correction."""
    names = () if text == "none" else tuple(text.split(","))
    for name in names:
        if name not in CORRECTION_NAMES:
            known = ", ".join(CORRECTION_NAMES)
            raise argparse.ArgumentTypeError(f"wanted none, or some of {known}; got {name!r}")
    return names


def numbers(text: str) -> tuple[float, ...]:
    """Parse numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"wanted numbers with commas between them, got {text!r}"
        ) from None


def confidences(text: str) -> tuple[float, ...]:
    """Parse points of an early-exit curve."""
    values = numbers(text)
    for value in values:
        try:
            check_confidence("each", value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return values


def seed(text: str) -> int:
    """Parse a whole number from which random numbers are drawn."""
    value = _whole(text, 0)
    if value > MOST_SEED:
        raise argparse.ArgumentTypeError(f"wanted at most {MOST_SEED:,}, got {text!r}")
    return value


def set_threads(threads: int | None) -> None:
    """Let torch use so many CPU threads; None leaves it its own choice.

    Raises:
        ValueError: more than any machine has, which ends the process where they are started.
    """
    if threads is not None:
        if threads > _MOST_THREADS:
            raise ValueError(f"--threads must be at most {_MOST_THREADS}, got {threads}")
        torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Raise ValueError where the asked-for device is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA GPU here; use --device cpu")
