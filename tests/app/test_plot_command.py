"""spikeconv plot: from saved runs to files, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch

from spikeconv.cli import main
from spikeconv.models import build_model

MEASURED = {"ann": 0.9, "snn": [0.1, 0.5, 0.8, 0.85], "converted_for_each_T": {"2": 0.6, "4": 0.85}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run.json and run.safetensors, as spikeconv evaluate writes them."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    model = build_model("resnet8", in_channels=1, widths=(4, 4, 8))
    torch.save(model.state_dict(), folder / "weights.pt")
    words = ["evaluate", "--weights", str(folder / "weights.pt"), "--dataset", "digits", "--T", "2"]
    words += [
        "4",
        "--limit",
        "50",
        "--calibration-images",
        "32",
        "--method",
        "opi",
        "--threads",
        "1",
    ]
    words += ["--json", str(folder / "run.json"), "--record", str(folder / "run.safetensors")]
    assert main(words) == 0
    return folder


def written(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run the command, which must fail as a user's error; return its one line."""
    assert main(["plot", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("spikeconv: ") and error.count("\n") == 1
    return error


def test_a_recording_gives_all_pictures_as_png_and_svg(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        assert main(["plot", str(run / "run.safetensors"), "--out", str(out)]) == 0
    kinds = ("accuracy", "raster", "rates", "membrane", "errors")
    names = sorted(f"run-{kind}.{suffix}" for kind in kinds for suffix in ("png", "svg"))
    assert written(out) == names
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == sorted(f"wrote {out / name}" for name in names)
    for name in names:
        content = (out / name).read_bytes()
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
    texts = {
        "accuracy": ("resnet8 on digits", "converted for each T", "time-steps T", "accuracy (%)"),
        "raster": ("resnet8 on digits, T = 4, image 0", "layer3.0.relu2", "time-step", "fire (%)"),
        "rates": ("resnet8 on digits, T = 4, 8 images", "layer1.0.relu1", "neurons (%)"),
        "membrane": ("v / threshold", "neurons after the last step (%)", "relu"),
        "errors": ("inherited from the layers before", "layer2.0.relu1"),
    }
    for kind, wanted in texts.items():
        content = (out / f"run-{kind}.svg").read_text()
        assert all(f">{text}<" in content for text in wanted), kind


def test_layers_kinds_and_one_file_are_chosen(run: Path, tmp_path: Path) -> None:
    one = tmp_path / "two layers.svg"
    chosen = ["--what", "raster", "--layer", "layer1.0.relu1", "layer2.0.relu2", "--image", "7"]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        assert main(["plot", str(run / "run.safetensors"), *chosen, "--out", str(one)]) == 0
    content = one.read_text()
    assert ">layer1.0.relu1<" in content and ">layer2.0.relu2<" in content
    assert ">relu<" not in content and "image 7<" in content


def test_accuracies_of_several_runs_share_a_picture(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(MEASURED))
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        files = [str(run / "run.json"), str(other)]
        assert main(["plot", *files, "--out", str(tmp_path / "out")]) == 0
    assert written(tmp_path / "out") == ["accuracy.png", "accuracy.svg"]
    content = (tmp_path / "out" / "accuracy.svg").read_text()
    for name in ("run", "other"):
        assert f">{name}: converted for T = 4<" in content
        assert f">{name}: converted for each T<" in content
    assert ">ANN of each run<" in content


def test_files_of_one_name_do_not_take_each_others_place(run: Path, tmp_path: Path) -> None:
    """The JSON and the recording of one run are one curve; another run of that name has its own."""
    other = tmp_path / "run.json"
    other.write_text(json.dumps(MEASURED))
    files = [str(run / "run.json"), str(run / "run.safetensors"), str(other)]
    chosen = ["--what", "accuracy", "--out", str(tmp_path / "out")]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        assert main(["plot", *files[:2], *chosen]) == 0
        assert written(tmp_path / "out") == ["run-accuracy.png", "run-accuracy.svg"]
        assert main(["plot", *files, *chosen]) == 0
    content = (tmp_path / "out" / "accuracy.svg").read_text()
    assert ">run: converted for T = 4<" in content and ">run (3): converted for T = 4<" in content
    assert "run (2)" not in content
    twice = [str(run / "run.safetensors")] * 2
    assert main(["plot", *twice, "--what", "rates", "--out", str(tmp_path / "two")]) == 0
    names = ["run (2)-rates.png", "run (2)-rates.svg", "run-rates.png", "run-rates.svg"]
    assert written(tmp_path / "two") == names


def test_the_json_and_the_recording_of_a_run_agree(run: Path) -> None:
    from spikeconv.plot.saved import open_saved

    both = [open_saved(run / name) for name in ("run.json", "run.safetensors")]
    assert both[0].accuracy == both[1].accuracy
    assert both[0].title == both[1].title == "resnet8 on digits, T = 4"
    assert both[0].recording is None and both[1].recording is not None
    assert both[1].recording.images == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.json"], "none.json: wanted what spikeconv evaluate --json or --record writes"),
        (["none.safetensors"], "none.safetensors: wanted a recording, found no file"),
        (["RUN/weights.pt"], "weights.pt: wanted what spikeconv evaluate --json or --record"),
        (["RUN/run.json", "--what", "raster"], "raster: needs a recording of spikeconv evaluate"),
        (["RUN/run.json", "--what", "errors"], "errors: needs a recording of spikeconv evaluate"),
        (
            ["RUN/run.safetensors", "--layer", "conv"],
            "no layer 'conv' was recorded; there are relu,",
        ),
        (["RUN/run.safetensors", "--image", "8"], "image must be in 0..7"),
        (["RUN/run.safetensors", "--out", "OUT/all.png"], "one file holds one picture"),
        (["RUN/run.json", "--out", "OUT/picture.gif"], "a picture's name ends in .png, .svg, .pdf"),
        (["RUN/run.json", "--out", "OUT/none/picture.png"], "none does not exist; make it first"),
    ],
)
def test_a_users_error_is_one_line(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    places = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for word in words]
    out = [] if "--out" in words else ["--out", tmp_path / "pictures"]
    assert message in refused(capsys, *places, *out)
    assert written(tmp_path) == []


HOSTILE: dict[str, Any] = {
    "a list": [1, 2],
    "nothing": {},
    "no accuracies": {"ann": 0.9, "snn": []},
    "accuracies in words": {"ann": 0.9, "snn": ["high"]},
    "percent": {**MEASURED, "ann": 90},
    "true": {**MEASURED, "snn": [True, False]},
    "many steps": {"ann": 0.9, "snn": [0.5] * 5000},
    "no ANN": {"snn": [0.5]},
    "steps in words": {**MEASURED, "converted_for_each_T": {"many": 0.5}},
    "no steps": {**MEASURED, "converted_for_each_T": {"0": 0.5, "1": 0.5}},
    "a list for each T": {**MEASURED, "converted_for_each_T": [0.5]},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_wrong_measurement_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(HOSTILE[what]))
    line = refused(capsys, path, "--out", tmp_path / "out")
    assert line.startswith(f"spikeconv: {path}: wanted what spikeconv evaluate --json")
    assert len(line) < 300


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"{" * 100_000, b"[" * 100_000, b'{"ann": NaN, "snn": [NaN]}']
)
def test_what_is_no_json_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    assert "wanted what spikeconv evaluate --json or --record writes" in refused(capsys, path)


def test_titles_of_any_kind_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "$x_{.json"
    settings = {"model": "$\\frac{", "dataset": "x" * 1000}
    path.write_text(json.dumps({**MEASURED, "settings": settings}))
    assert main(["plot", str(path), "--out", str(tmp_path / "out.png")]) == 0
    path.write_text(json.dumps({**MEASURED, "settings": [settings]}))
    assert main(["plot", str(path), "--out", str(tmp_path / "out.png")]) == 0


def test_matplotlib_is_named_where_it_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "needs matplotlib: pip install matplotlib" in refused(capsys, tmp_path / "run.json")
