"""What conversion says when a network cannot be converted: everything at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_OURS = (os.path.join(_PACKAGE, name, "") for name in ("convert", "network", "passes"))
_LIBRARIES = (torch.__path__[0] + os.sep, *_OURS)


@dataclass(frozen=True)
class Problem:
    """One thing in the network that cannot be converted.

    Attributes:
        path: dotted path of the module whose forward holds it; "" is the network itself.
        operation: what is called there, as a user would write it.
        line: ``file:line`` of the call, or "" where it is not known.
        reason: why it cannot be converted, and what to do.
    """

    path: str
    operation: str
    line: str
    reason: str

    def __str__(self) -> str:
        where = self.path or "(the network itself)"
        at = f" at {self.line}" if self.line else ""
        return f"{where}: {self.operation}{at}: {self.reason}"


class ConversionError(ValueError):
    """The network cannot be converted; `problems` holds every reason, the message lists them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 thing" if len(problems) == 1 else f"{len(problems)} things"
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"convert: {count} in this network cannot be converted:\n{lines}")


def is_users(file: str) -> bool:
    """Whether a file is neither torch's nor of this package's conversion."""
    return not file.startswith(_LIBRARIES)


def users_line(frames: Sequence[tuple[str, str]]) -> str:
    """Of a call stack, the innermost line that is neither torch's nor this package's."""
    users = [frame for frame in frames if is_users(frame[0])]
    return ":".join(users[-1]) if users else ""
