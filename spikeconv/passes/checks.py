"""Checks in a forward: conditions on values that decide nothing but whether it raises."""

from __future__ import annotations

import dis
import warnings
from collections.abc import Sequence

from spikeconv.passes.errors import is_users

MOST_CHECKS = 32
"""So many conditions on values are tried the other way; a forward with more is refused."""


def raised_by_users_code(error: Exception, outer: BaseException | None) -> bool:
    """Whether a ``raise`` or an ``assert`` in the user's own code has raised an error.

    Not where another error was being handled, which may come of tracing, unless it is the one that
    was handled before.
    """
    trace = error.__traceback__
    if trace is None or error.__context__ not in (None, outer):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    raises = code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raises and is_users(code.co_filename)


def warn_of_checks(lines: Sequence[str]) -> None:
    """Warn of checks that the spiking network does not make."""
    if lines:
        warnings.warn(
            f"convert: forward checks values at {', '.join(lines)}; the spiking network does not, "
            "so check what you call it with",
            stacklevel=5,
        )
