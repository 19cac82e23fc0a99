"""The `safetensors` package: installed along, and imported only where a file needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def import_safetensors(path: str | Path) -> Any:
    """The `safetensors` package, with its part for torch.

    Args:
        path: of the file that it is needed for.

    Raises:
        ImportError: it is not installed; beginning with the file.
    """
    try:
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path}: a .safetensors file needs safetensors: pip install safetensors"
        ) from error
    return safetensors
