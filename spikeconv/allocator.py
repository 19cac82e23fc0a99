"""The C library's allocator: how it treats freed memory."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next call, until the process ends.

    By default glibc returns every block above 32 MiB to the kernel, and the next call pays one page
    fault for each 4 KiB of its output. On virtual machines that can cost ten times the copy. The
    process then holds on to at least the most that it ever needed. The command `spikeconv` calls
    this; a program of your own that converts or trains may.

    Returns:
        whether it does; False where there is no glibc.
    """
    library = c_library()
    if library is None:
        return False
    return bool(library.mallopt(_M_MMAP_MAX, 0)) and bool(library.mallopt(_M_TRIM_THRESHOLD, -1))


def c_library() -> ctypes.CDLL | None:
    """glibc, or None where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
