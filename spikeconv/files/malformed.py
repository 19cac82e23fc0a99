"""What is wrong with a file, said as whatever opened it will say it."""

# What Python's and torch's own code may raise where it is given anything at all.
REFUSALS = (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError, AssertionError)


class Malformed(ValueError):
    """A description that describes no network; what opened the file adds where it stands."""


def said(error: BaseException) -> str:
    """What an error says, without the call stacks that torch adds to it."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return first if len(first) <= 300 else f"{first[:297]}..."
