"""Files are checked before the work and written whole."""

from __future__ import annotations

import json
import os
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


def test_an_old_file_keeps_its_mode_and_a_new_one_has_the_umasks(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.touch(0o440)
    before = os.umask(0o027)
    try:
        for path in (old, new):
            write_json(path, {"ann": 0.5})
    finally:
        os.umask(before)
    assert json.loads(old.read_text()) == {"ann": 0.5}
    assert [path.stat().st_mode & 0o777 for path in (old, new)] == [0o440, 0o640]


def test_what_a_link_names_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "below" / "target.json"
    link.symlink_to(target)
    for content in (1, 2):  # first there is no such file
        write_json(link, content)
        assert link.is_symlink() and json.loads(target.read_text()) == content
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == ["link.json", "target.json"]


def test_what_is_no_file_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "circle", "link"):
        with pytest.raises(ValueError, match=rf"{name}: wanted .*, found what is no file"):
            write_json(tmp_path / name, {})
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "circle").is_symlink()


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    write_json(tmp_path / ("a" * 250 + ".json"), {})
    assert len(list(tmp_path.iterdir())) == 1
