"""A method: how every population of a network gets its parameters, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from spikeconv.calibrate.correct import check_corrections
from spikeconv.calibrate.potential import check_seed, initial_potential, is_random
from spikeconv.calibrate.threshold import check_options

METHODS = ("best", "opi")


@dataclass(frozen=True)
class Method:
    """A threshold method, an initial potential, and corrections; everything combines freely.

    Args:
        threshold: a name in `THRESHOLDS`.
        granularity: a threshold per ``"channel"`` or per ``"layer"``.
        v_init: ``"zero"``, ``"half"``, ``"uniform"``, ``"gaussian"``, or a number of thresholds.
        corrections: names in `CORRECTION_NAMES`, in the order in which they are applied.
        signed: neurons that also fire -1.
        percentile: percent, for ``threshold="percentile"``.
        headroom: added to every threshold, in units of it.
        seed: draws random initial potentials.

    Raises:
        TypeError, ValueError: naming the argument.

    Example:
        >>> print(Method(corrections=("bias",)))
        threshold mse per channel, v_init half, corrections bias
    """

    threshold: str = "mse"
    granularity: str = "channel"
    v_init: str | float = "half"
    corrections: tuple[str, ...] = ()
    signed: bool = False
    percentile: float = 99.9
    headroom: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self.threshold, self.granularity, self.percentile, self.headroom)
        for name in ("percentile", "headroom"):
            object.__setattr__(self, name, float(getattr(self, name)))
        number = initial_potential(self.v_init)
        if not isinstance(self.v_init, str):
            object.__setattr__(self, "v_init", number)
        object.__setattr__(self, "corrections", check_corrections(self.corrections))
        if not isinstance(self.signed, bool):
            raise TypeError(f"convert: signed must be True or False, got {self.signed!r}")
        object.__setattr__(self, "seed", check_seed(self.seed))

    def settings(self) -> dict[str, str | float]:
        """What a report says of it."""
        percent = f" {self.percentile:g}" if self.threshold == "percentile" else ""
        drawn = f"{self.v_init}, seed {self.seed}" if is_random(self.v_init) else None
        return {
            "threshold": f"{self.threshold}{percent}",
            "granularity": self.granularity,
            **({"headroom": self.headroom} if self.headroom else {}),
            "v_init": self.v_init if drawn is None else drawn,
            "corrections": "+".join(self.corrections) or "none",
            "signed": self.signed,
        }

    def __str__(self) -> str:
        said = self.settings()
        parts = [
            f"threshold {said['threshold']} per {self.granularity}",
            *([f"headroom {self.headroom:g}"] if self.headroom else []),
            f"v_init {said['v_init']}",
        ]
        parts += [f"corrections {said['corrections']}"] if self.corrections else []
        return ", ".join(parts + ["signed"] * self.signed)
