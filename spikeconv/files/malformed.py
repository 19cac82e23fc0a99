"""What is wrong with a file, said as whatever opened it will say it."""


class Malformed(ValueError):
    """A description that describes no network; what opened the file adds where it stands."""
