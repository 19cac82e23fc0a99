"""Files that a command writes: checked before the work, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def check_output(path: str | Path, suffixes: tuple[str, ...] = ()) -> Path:
    """Return ``path`` if a file can be written there.

    Args:
        path: file to be written; it may exist already.
        suffixes: what its name must end with, such as ``(".png", ".svg")``; empty for anything.

    Raises:
        ValueError: another suffix, something of that name that is no file, as a folder or a
            device, or a folder that may not be written to.
        FileNotFoundError: the folder it would lie in does not exist.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the name must end with {' or '.join(suffixes)}")
    if path.is_dir():
        raise ValueError(f"{path}: wanted the name of a file to write, found a folder")
    target = _target(path)
    if os.path.lexists(target) and not target.is_file():
        raise ValueError(f"{path}: wanted the name of a file to write, found what is no file")
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{path}: the folder {folder} may not be written to")
    return path


def check_folder(name: str, path: str | Path) -> None:
    """Make sure that a folder is there or can be made, and takes files.

    Args:
        name: what a user calls it, such as ``"--out"``.
        path: the folder.

    Raises:
        ValueError: it has no name, there is a file on the way to it, or it may not be written to.
    """
    whole = Path(path).absolute()
    first = next(one for one in (whole, *whole.parents) if one.exists())
    if not str(path) or not first.is_dir():
        found = f"the file {first}" if str(path) else "none"
        raise ValueError(f"{name}: wanted the name of a folder, got {found}")
    try:
        # os.access knows rights alone, and not what a file system refuses.
        tempfile.TemporaryFile(dir=first).close()
    except OSError as error:
        reason = f"{first} may not be written to ({error.strerror})"
        raise ValueError(f"{name}: wanted a folder to write in, but {reason}") from error


def check_apart(written: Mapping[str, Any], read: Mapping[str, Any]) -> None:
    """Make sure that each file that is written is one of its own, and none that is read.

    Args:
        written: what a user calls a file, such as ``"--json"`` -> its path, or None for no file.
        read: likewise.

    Raises:
        ValueError: two of them are one file; names both.
    """
    taken = {Path(path).resolve(): name for name, path in read.items() if path is not None}
    for name, path in written.items():
        if path is None:
            continue
        other = taken.setdefault(Path(path).resolve(), name)
        if other != name:
            raise ValueError(
                f"{name} and {other} are the same file, {path}, of which one would be lost; give "
                f"{name} another name"
            )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give the name of a file to write, which takes the place of ``path`` once it is whole.

    Whatever happens meanwhile, a reader finds the old file or the new one. A block that raises
    leaves the old one. What a link names is replaced and not the link; an old file's mode is kept.

    Raises:
        ValueError, FileNotFoundError: as `check_output`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "answer.txt")) as partial:
        ...         _ = partial.write_text("42")
        ...     os.listdir(folder)
        ['answer.txt']
    """
    target = _target(check_output(path))
    # Not by tempfile, whose files have the mode 0600 whatever the umask. The file's own name may be
    # as long as names can be, and torch.save wants one that does not begin with its last dot.
    partial = target.with_name(f".partial.{secrets.token_hex(8)}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o666))
    try:
        old = target if target.exists() else partial
        mode = stat.S_IMODE(old.stat().st_mode)
        partial.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())  # the rename must not reach the disk before the content
        partial.chmod(mode)
        partial.replace(target)
    except BaseException:
        partial.unlink()
        raise


def _target(path: Path) -> Path:
    """The file itself, where a path leads to it by links, of which one may name no file yet."""
    return Path(os.path.realpath(path))


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as JSON, so that a reader finds the old file or the whole new one.

    Raises:
        ValueError: as `check_output`, or ``content`` holds NaN or infinity, which JSON has not.
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text)
