"""The methods of the accuracy table: a name, a family, and what `spikeconv.convert` is told."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import spikeconv
from spikeconv.calibrate.correct import check_corrections

STEPS = (1, 2, 4, 8, 16, 32, 64)
CLAIM_STEPS = (4, 8, 16, 32)
BASE = "base"
"""A threshold to be resolved: the bound that the network was trained with, else ``"mse"``."""

FREE_THRESHOLDS = ("max", "percentile", "mse", "mse-closed", "balance")
TRAINED_THRESHOLDS = ("tcl", "qcfs")

FITTED = 2
"""Revision of what is fitted on calibration images; 2: on 512 in place of 128."""

Options = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        name: as ``--methods`` takes it.
        family: rows of a family stand together.
        label: what a reader is told.
        options: arguments of `spikeconv.convert` that differ from `_PLAIN`.
        before: steps before the readout by what they are for: name -> (share of T, at most).
        steps: T that are measured unless ``--T`` says others.
        rank: who is measured first; 0 is the goal table.
        revision: raise it when what the method does has changed, so that it is measured anew.
    """

    name: str
    family: str
    label: str
    options: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    steps: tuple[int, ...] = STEPS
    rank: int = 1
    revision: int = 1

    def settings(self, T: int, trained: str | None) -> Options | None:
        """Arguments of `spikeconv.convert` for T steps; None where the network or T rules it out.

        Args:
            T: all steps.
            trained: the threshold that the network was trained with, or None.

        Example:
            >>> found = by_name("srp").settings(8, None)
            >>> found["threshold"], found["srp"]
            ('mse', 4)
            >>> by_name("srp").settings(1, None), by_name("qcfs").settings(4, "tcl")
            (None, None)
        """
        options = {**_PLAIN, **self.options}
        if options["threshold"] == BASE:
            options["threshold"] = trained or "mse"
        elif options["threshold"] in TRAINED_THRESHOLDS and options["threshold"] != trained:
            return None
        for name, (share, most) in self.before.items():
            steps = min(T // share, most)
            if not 0 < steps < T:
                return None
            options[name] = steps
        return options if self._fixed_before() < T else None

    def before_in_words(self) -> str:
        """The column of steps before the readout."""
        parts = [f"T/{share}, at most {most}" for share, most in self.before.values()]
        return ", ".join(parts) or str(self._fixed_before())

    def _fixed_before(self) -> int:
        """Steps before the readout that are the same for every T; what is no number is left to
        convert, which says so."""
        given = (self.options.get(name) for name in ("srp", "cos", "delay"))
        return sum(steps for steps in given if isinstance(steps, int))


# What a row is unless it says otherwise. Everything is said, so that convert chooses nothing.
_PLAIN: Options = {
    "threshold": BASE,
    "granularity": "channel",
    "v_init": "half",
    "signed": False,
    "corrections": (),
    "method": "opi",
}
_CHOSEN: Options = {"threshold": None, "corrections": None, "method": "best"}


def _threshold(name: str) -> list[Method]:
    """A threshold method under every initialisation of the paper's second claim."""
    granularity = "layer" if name == "max" else "channel"
    trained = name in TRAINED_THRESHOLDS
    per = "trained, per layer" if trained else f"per {granularity}"
    options: Options = {"threshold": name, "granularity": granularity}
    what = f"threshold {name}, {per}"
    plain = Method(name, "threshold", f"{what}, theta/2", options)
    zero, shift = {"v_init": "zero"}, {"v_init": "zero", "corrections": ("rts",)}
    ours = {"corrections": None, "method": "best"}
    variants = [
        replace(
            plain,
            name=f"{name}/{variant}",
            label=f"{what}, {label}",
            options=options | more,
            revision=FITTED if variant == "ours" else 1,
        )
        for variant, label, more in (
            ("zero", "v_init 0", zero),
            ("rts", "RTS shift", shift),
            ("ours", "our corrections", ours),
        )
    ]
    return [
        plain,
        *(
            replace(row, family="initialisation", steps=CLAIM_STEPS, rank=rank)
            for row, rank in zip(variants, (2, 2, 3), strict=True)
        ),
    ]


def _base(name: str, family: str, label: str, rank: int = 1, **options: Any) -> Method:
    fitted = [name for name in options.get("corrections", ()) if name != "rts"]
    return Method(name, family, label, options, rank=rank, revision=FITTED if fitted else 1)


METHODS: tuple[Method, ...] = (
    _base("opi", "ours and the paper's", "OPI: trained bound or mse, theta/2", 0),
    Method(
        "best",
        "ours and the paper's",
        "best, chosen on calibration data",
        _CHOSEN,
        rank=0,
        revision=FITTED,
    ),
    _base("opi-signed", "ours and the paper's", "OPI, signed neurons", 0, signed=True),
    Method(
        "best-signed",
        "ours and the paper's",
        "best, signed neurons",
        {**_CHOSEN, "signed": True},
        rank=0,
        revision=FITTED,
    ),
    *(row for name in (*FREE_THRESHOLDS, *TRAINED_THRESHOLDS) for row in _threshold(name)),
    _base("zero", "initial potential", "v_init 0", v_init="zero"),
    _base("half", "initial potential", "v_init theta/2"),
    _base("uniform", "initial potential", "v_init uniform in 0..theta", v_init="uniform"),
    _base("gaussian", "initial potential", "v_init normal around theta/2", v_init="gaussian"),
    _base("rts", "correction", "RTS shift", v_init="zero", corrections=("rts",)),
    _base("bias", "correction", "bias correction (Calibration, light)", corrections=("bias",)),
    _base(
        "potential",
        "correction",
        "potential of every neuron (Calibration, advanced)",
        corrections=("potential",),
    ),
    _base(
        "potential-channel",
        "correction",
        "potential of every channel",
        corrections=("potential-channel",),
    ),
    _base("step-bias", "correction", "bias of every step", corrections=("step-bias",)),
    _base("search", "correction", "search", corrections=("search",)),
    _base("weights+search", "correction", "weights and search", corrections=("weights", "search")),
    Method("srp", "timing", "SRP", before={"srp": (2, 4)}),
    Method("cos", "timing", "COS", before={"cos": (2, 4)}),
    Method("delay", "timing", "delayed readout", before={"delay": (4, 8)}),
)


_ARGUMENTS = frozenset(inspect.signature(spikeconv.convert).parameters) - {
    *("ann", "calibration", "T", "analog", "seed", "progress")
}


def own_method(text: str) -> Method:
    """A row of a user's own, from NAME=JSON: any combination of `spikeconv.convert`'s arguments.

    Raises:
        ValueError: it is not spelled so, the name is taken, or convert has no such argument.

    Example:
        >>> found = own_method('mine={"threshold": "max", "v_init": 0.25, "srp": 2}')
        >>> found.settings(8, None)["v_init"], found.settings(8, None)["srp"]
        (0.25, 2)
    """
    name, _, given = text.partition("=")
    try:
        options = json.loads(given)
    except json.JSONDecodeError:
        options = None
    if not re.fullmatch(r"[\w.+/-]+", name) or not isinstance(options, dict):
        raise ValueError(
            '--combine: wanted NAME=JSON, such as \'mine={"threshold": "max", "v_init": 0.25}\', '
            f"got {text!r}"
        )
    if name in {"ann", *(method.name for method in METHODS)}:
        raise ValueError(f"--combine: {name} is a method of the table; take another name")
    if unknown := sorted(options.keys() - _ARGUMENTS):
        raise ValueError(
            f"--combine: {name}: wanted some of {', '.join(sorted(_ARGUMENTS))}, got "
            f"{', '.join(unknown)}"
        )
    if options.get("method") == "best":
        options = {**_CHOSEN, **options}
    if options.get("corrections") is not None:
        options["corrections"] = check_corrections(options["corrections"])
    label = ", ".join(f"{key} {value}" for key, value in options.items())
    return Method(name, "your own", label, options, revision=FITTED)


def by_name(name: str, methods: Sequence[Method] = METHODS) -> Method:
    """The method of that name.

    Raises:
        ValueError: there is none; lists those there are.
    """
    for method in methods:
        if method.name == name:
            return method
    known = ", ".join(method.name for method in methods)
    raise ValueError(f"--methods: wanted some of {known}, got {name!r}")
