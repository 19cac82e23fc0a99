"""What a wheel holds, shown on one built without a C++ compiler: pure Python, and it works."""

from __future__ import annotations

import zipfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import spikeconv

DIST_INFO = f"spikeconv-{spikeconv.__version__}.dist-info"


@pytest.fixture(scope="module")
def installed(tree, python, tmp_path_factory) -> tuple[CompletedProcess[str], Path]:
    """pip's answer where no compiler is found, and the wheel it made."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), "."]
    answer = python("-m", "pip", *build, cwd=tree, CXX="no-such-compiler")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (wheel,) = folder.glob("*.whl")
    return answer, wheel


@pytest.fixture(scope="module")
def names(installed) -> set[str]:
    with zipfile.ZipFile(installed[1]) as wheel:
        return set(wheel.namelist())


def test_missing_compiler_is_said_once_through_pip(installed):
    answer, wheel = installed
    lines = (answer.stdout + answer.stderr).splitlines()
    (said,) = [line for line in lines if "compiler" in line]
    assert said.startswith(
        "spikeconv: no C++ compiler found (CXX=no-such-compiler), so the backends"
    )
    assert wheel.name.endswith("-py3-none-any.whl")


def test_only_top_level_name_is_spikeconv(names):
    assert {name.split("/")[0] for name in names} == {"spikeconv", DIST_INFO}


def test_holds_the_package_the_kernels_and_nothing_else(names, tree):
    package = {str(p.relative_to(tree)) for p in (tree / "spikeconv").rglob("*.py")}
    kernels = {f"spikeconv/{p.relative_to(tree)}" for p in (tree / "kernels").rglob("*.py")}
    weights = {str(p.relative_to(tree)) for p in (tree / "spikeconv").rglob("*.safetensors")}
    shipped = {name for name in names if not name.startswith(DIST_INFO)}
    assert shipped == package | kernels | weights | {"spikeconv/py.typed"}
    assert "spikeconv/kernels/if_multistep.py" in kernels


def test_metadata(installed, names):
    with zipfile.ZipFile(installed[1]) as wheel:
        metadata = wheel.read(f"{DIST_INFO}/METADATA").decode()
        entry_points = wheel.read(f"{DIST_INFO}/entry_points.txt").decode()
    assert f"Version: {spikeconv.__version__}\n" in metadata
    assert "License: Apache-2.0\n" in metadata
    assert any(name.startswith(DIST_INFO) and name.endswith("LICENSE") for name in names)
    assert "spikeconv = spikeconv.cli:main" in entry_points


def test_works_without_the_extension(installed, python, tmp_path):
    script = """if True:
        import sys
        sys.modules["spikeconv._C"] = None  # the checkout's, were it found
        import torch, spikeconv, spikeconv.kernels
        assert spikeconv.__file__.startswith(sys.argv[1]), spikeconv.__file__
        assert spikeconv.kernels.__file__.startswith(sys.argv[1]), spikeconv.kernels.__file__
        spikes, v = spikeconv.if_multistep(torch.tensor([0.75, 0.25]), T=4)
        print(spikes.sum(0).tolist(), v.tolist(), spikeconv.backends()["cpp"])
    """
    with zipfile.ZipFile(installed[1]) as wheel:
        wheel.extractall(tmp_path / "site")
    site = str(tmp_path / "site")
    answer = python("-c", script, site, cwd=tmp_path, PYTHONPATH=site)
    assert answer.stdout.startswith("[3.0, 1.0] [0.0, 0.0] the compiled extension is not installed")
