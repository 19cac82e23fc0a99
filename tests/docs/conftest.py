"""Code of the documentation runs on one thread, in a folder of its own, from the same numbers."""

from pathlib import Path

import pytest

from tests.fixtures import one_seed as one_seed
from tests.fixtures import one_thread as one_thread


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example writes, no other one finds."""
    monkeypatch.chdir(tmp_path)
