"""Choices of tiles on disk: one small file a choice, so that a layer is timed once on a machine."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

Choice = TypeVar("Choice")


def cache_folder() -> Path:
    """Where choices are kept: ``SPIKECONV_CACHE``, else a folder in the user's cache, if any."""
    chosen = os.environ.get("SPIKECONV_CACHE")
    if chosen:
        return Path(chosen)
    user = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(user) if user else Path.home() / ".cache") / "spikeconv"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "spikeconv"


class TileCache:
    """Choices by everything that they depend on.

    Args:
        folder: of the files, which is made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: Mapping[str, object], candidates: Sequence[Choice]) -> Choice | None:
        """The candidate that was chosen, or None: no file, or none that can be used."""
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or a broken one: it will be written anew
            return None
        if not isinstance(found, dict) or found.get("key") != _plain(key):
            return None
        fitting = (one for one in candidates if _plain(one) == found.get("choice"))
        return next(fitting, None)

    def put(
        self, key: Mapping[str, object], choice: object, seconds: Mapping[str, float | str]
    ) -> None:
        """Write a choice, whole or not at all; a warning says where that cannot be done."""
        path = self._path(key)
        content = {"key": _plain(key), "choice": _plain(choice), "seconds": dict(seconds)}
        draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            warnings.warn(
                f"spikeconv: the choice of a tile could not be kept ({error}), so the layer will "
                "be timed again; SPIKECONV_CACHE names another folder",
                stacklevel=2,
            )

    def _path(self, key: Mapping[str, object]) -> Path:
        name = hashlib.sha256(json.dumps(_plain(key), sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / f"{name}.json"


def _plain(value: object) -> object:
    """A value as it comes back from JSON."""
    fields = asdict(value) if hasattr(value, "__dataclass_fields__") else value  # type: ignore[call-overload]
    return json.loads(json.dumps(fields))
