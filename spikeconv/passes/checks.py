"""Checks in a forward: conditions on values that decide nothing but whether it raises."""

from __future__ import annotations

import ast
import linecache
import sys
import warnings
from collections.abc import Sequence

from spikeconv.passes.errors import is_users


def check_that_asks() -> str | None:
    """Where the user's code asks for a value, if that is a check.

    A check is an ``assert``, or an ``if`` that raises, outside of any ``try``: with another answer
    the forward would not go another way but end.

    Returns:
        ``file:line``, or None: it is no check, or its source is not to be had.
    """
    frame = sys._getframe(1)
    while not is_users(frame.f_code.co_filename):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    try:
        tree = ast.parse("".join(linecache.getlines(file, frame.f_globals)))
    except (SyntaxError, ValueError):
        return None
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or line)
    ]
    if any(hasattr(statement, "handlers") for statement in around):
        return None
    asking = [statement for statement in around if line <= _last_line_of_its_own(statement)]
    return f"{file}:{line}" if asking and all(map(_only_checks, asking)) else None


def _last_line_of_its_own(statement: ast.stmt) -> int:
    """Of what stands before the statements within it, or of all of it where none are."""
    within: list[ast.stmt] = getattr(statement, "body", [])
    if not within:
        return statement.end_lineno or statement.lineno
    return max(statement.lineno, within[0].lineno - 1)


def _only_checks(statement: ast.stmt) -> bool:
    """Whether all that a statement can do is to raise; names that it sets might be read later."""
    if any(isinstance(node, ast.NamedExpr) for node in ast.walk(statement)):
        return False
    if isinstance(statement, ast.If):
        raises = isinstance(statement.body[-1], ast.Raise) and not any(
            isinstance(node, ast.Return | ast.Break | ast.Continue)
            for within in statement.body
            for node in ast.walk(within)
        )
        return raises or all(map(_only_checks, (*statement.body, *statement.orelse)))
    return isinstance(statement, ast.Assert | ast.Raise)


def warn_of_checks(lines: Sequence[str]) -> None:
    """Warn of checks that the spiking network does not make."""
    if lines:
        warnings.warn(
            f"convert: forward checks values at {', '.join(lines)}; the spiking network does not, "
            "so check what you call it with",
            stacklevel=5,
        )
