"""Files are checked before the work and written whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spikeconv.output import check_folder, check_output, write_json


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"ann": 0.5})
    assert json.loads(path.read_text()) == {"ann": 0.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"ann": float("nan")})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"ann": {1, 2}})
    assert json.loads(path.read_text()) == {"ann": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    assert check_output(tmp_path / "a.json") == tmp_path / "a.json"
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        check_output(tmp_path / "none" / "a.json")
    with pytest.raises(ValueError, match="found a folder"):
        check_output(tmp_path)
    with pytest.raises(ValueError, match=r"must end with \.png or \.svg"):
        check_output(tmp_path / "a.gif", (".png", ".svg"))


def test_a_folder_has_a_name_and_no_file_in_its_way(tmp_path: Path) -> None:
    check_folder("--out", tmp_path / "new" / "folder")
    check_folder("--out", tmp_path)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            ValueError, match=r"--out: wanted the name of a folder, got the file .*file$"
        ):
            check_folder("--out", path)
    with pytest.raises(ValueError, match="--out: wanted the name of a folder, got none"):
        check_folder("--out", "")


@pytest.mark.parametrize("path", ["/proc/self", "/proc/self/new"])
def test_a_folder_that_takes_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"--out: wanted a folder to write in, but /proc/self may"):
        check_folder("--out", path)
