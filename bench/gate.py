"""The gate before the stopwatch: who gives a wrong result is not timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Contestant:
    """Something that can be timed.

    Args:
        name: stable name, as in the JSON.
        run: one call; returns what is checked.
        emit: what it emits, where contestants differ in that.
        may_be_missing: a RuntimeError in its first call leaves it out with its reason: for what
            needs a compiler that a machine may lack. Anybody else's error is an error, except for
            a GPU whose memory is too small.
    """

    name: str
    run: Callable[[], Tensor]
    emit: str = ""
    may_be_missing: bool = False

    @property
    def key(self) -> str:
        """Name and emit: unique among the contestants of one run."""
        return f"{self.name} {self.emit}".strip()


@dataclass
class Gate:
    """Who may be timed, who gave a wrong result, and who cannot run here; reasons by key."""

    admitted: list[Contestant] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def pass_all(
        self,
        contestants: Iterable[Contestant],
        verdict: Callable[[Contestant, Tensor], str | None],
    ) -> None:
        """Run each contestant once and let in those of whom `verdict` has nothing to say."""
        for contestant in contestants:
            try:
                result = contestant.run()
            except RuntimeError as error:
                if not (contestant.may_be_missing or isinstance(error, torch.OutOfMemoryError)):
                    raise
                self.skipped[contestant.key] = first_line(error)
                continue
            reason = verdict(contestant, result)
            if reason is None:
                self.admitted.append(contestant)
            else:
                self.refused[contestant.key] = reason

    def report(self) -> str:
        """One line for everyone who is not timed."""
        lines = [f"not timed: {key}: {reason}" for key, reason in self.skipped.items()]
        lines += [f"WRONG RESULT, not timed: {key}: {why}" for key, why in self.refused.items()]
        return "\n".join(lines)


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message that says something.

    >>> first_line(RuntimeError("backend='inductor' raised:\\nNo working C++ compiler found"))
    'RuntimeError: No working C++ compiler found'
    """
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.endswith(":")]
    return f"{type(error).__name__}: {telling[0]}" if telling else type(error).__name__
