"""When a spiking network is read, and what it runs before: the steps of a call, in stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from numbers import Integral

# The largest number that float32 counts to, one by one.
MOST_STEPS = 2**24


def check_steps(
    function: str, argument: str, steps: int, least: int = 1, most: int | None = MOST_STEPS
) -> int:
    """The number of steps as an int, once it is known to be an integer that is not out of range."""
    if isinstance(steps, bool) or not isinstance(steps, Integral):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(steps).__name__}")
    if steps < least:
        raise ValueError(f"{function}: {argument} must be at least {least}, got {steps}")
    if most is not None and steps > most:
        raise ValueError(
            f"{function}: {argument} must be at most {most}, because spikes are counted in "
            f"float32, got {steps}"
        )
    return int(steps)


@dataclass(frozen=True)
class Stage:
    """Steps that run in one go, all neurons from their initial potential.

    Attributes:
        steps: how many, 1 or more.
        delay: so many of the first that the mean leaves out once there is a later one.
        cos: so many of the first that COS looks at, layer by layer, before the layer is run.
        silences: SRP takes its mask from the potentials after the last step.
        answers: the call's answer is the mean of this stage; the stages before prepare it.
        preview: shows what the network would answer without COS, and costs nothing: the steps that
            it stands for are spent inside the next stage.
    """

    steps: int
    delay: int = 0
    cos: int = 0
    silences: bool = False
    answers: bool = False
    preview: bool = False

    def chunks(self, at_once: int) -> Iterator[tuple[int, bool]]:
        """Numbers of steps that add up, each with whether no potential is needed after it.

        All steps that COS looks at come in the first chunk.
        """
        size = max(at_once, self.cos)
        for start in range(0, self.steps, size):
            end = min(start + size, self.steps)
            yield end - start, end == self.steps and not self.silences


@dataclass(frozen=True)
class Timing:
    """When the output is read. T is always all steps, those before the readout included.

    A call of T steps is, in this order:

    - ``srp`` steps that find SRP's mask (`spikeconv.calibrate.srp`); then all neurons start anew;
    - ``cos`` steps that find COS's initial potentials (`spikeconv.calibrate.cos`), spent in every
      layer on the first steps of its own input; then the layer starts anew. As in the paper it
      counts once and not once a layer. A run whose last stage is shorter than ``cos`` has no more
      than that stage's steps to look at, and spends the others without running them;
    - ``delay`` steps that are run and not read, until spikes have come through to the last layer;
    - the readout, which is the mean of the steps that are left, at least one.

    All of them combine.

    Args:
        delay: steps >= 0.
        srp: tau of SRP, steps >= 0.
        cos: rho of COS, steps >= 0.

    Raises:
        TypeError, ValueError: naming the argument.

    Source: SRP: Hao et al., "Reducing ANN-SNN Conversion Error through Residual Membrane
    Potential", AAAI 2023. COS: Hao et al., "Bridging the Gap between ANNs and SNNs by Calibrating
    Offset Spikes", ICLR 2023. Delay: Bu, Li, Yu, "Inference-Scale Complexity in ANN-SNN
    Conversion", CVPR 2025; it reads the last 4 steps of a run shorter than delay + 4, which is
    ``delay=T - 4`` here: a run never reads other steps than it was told to.

    Example:
        >>> timing = Timing(delay=1, srp=4)
        >>> timing.before, timing.steps_read(16)
        (5, 11)
        >>> print(timing)
        delay=1, srp=4
    """

    delay: int = 0
    srp: int = 0
    cos: int = 0

    def __post_init__(self) -> None:
        for name, steps in asdict(self).items():
            object.__setattr__(self, name, check_steps("Timing", name, steps, least=0))

    @property
    def before(self) -> int:
        """Steps before the first that is read."""
        return self.delay + self.srp + self.cos

    def looked_at(self, T: int) -> int:
        """Steps that COS looks at in a run of T: `cos`, or all of a last stage that is shorter."""
        return min(self.cos, self.steps_read(T) + self.delay)

    def settings(self) -> dict[str, int]:
        """What is not 0, by name."""
        return {name: steps for name, steps in asdict(self).items() if steps}

    def steps_read(self, T: int, function: str = "SpikingNetwork") -> int:
        """Steps of a run of T that the output is the mean of.

        Args:
            T: all steps.
            function: what an error says was called.

        Raises:
            ValueError: there is none.
        """
        if self.before >= T:
            spend = "spends" if len(self.settings()) == 1 else "spend"
            raise ValueError(
                f"{function}: T must be at least {self.before + 1}, because {self} {spend} "
                f"{self.before} of the T steps before the readout, got {T}"
            )
        return T - self.before

    def stages(self, T: int, every_step: bool) -> tuple[Stage, ...]:
        """The stages of a run of T steps; with `every_step`, one stands for COS's steps too."""
        last = self.steps_read(T) + self.delay
        stages = []
        if self.srp:
            stages.append(Stage(self.srp, silences=True))
        if self.cos and every_step:
            stages.append(Stage(self.cos, preview=True))
        return (*stages, Stage(last, self.delay, self.looked_at(T), answers=True))

    def __str__(self) -> str:
        return ", ".join(f"{name}={steps}" for name, steps in self.settings().items())
