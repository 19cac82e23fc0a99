"""A build that cannot be done as asked says why in one line; one that breaks breaks loudly."""

from __future__ import annotations

import shutil

import pytest

WITHOUT_TORCH = """if True:
    import runpy, sys
    sys.modules["torch"] = None
    sys.argv = ["setup.py", "build_ext"]
    runpy.run_path("setup.py")
"""

# These builds end before it compiles.
COMPILER = {"CXX": ""}


def last_line(answer) -> str:
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return answer.stderr.splitlines()[-1]


def test_cuda_without_a_toolkit_names_both_values(tree, python):
    asked = {"SPIKECONV_CUDA": "1", "CUDA_HOME": "no-such-toolkit"}
    line = last_line(python("setup.py", "build_ext", cwd=tree, **asked, **COMPILER))
    assert line.startswith("spikeconv: SPIKECONV_CUDA=1 wants a torch built for CUDA")
    assert "torch.version.cuda=" in line
    assert "CUDA_HOME=" in line


def test_unknown_choice_of_cuda(tree, python):
    line = last_line(python("setup.py", "build_ext", cwd=tree, SPIKECONV_CUDA="on", **COMPILER))
    assert line == "spikeconv: SPIKECONV_CUDA must be auto, 0 or 1, got 'on'"


@pytest.mark.parametrize("cxx", ["/bin/false", "true", "ls", "echo", "'", "no-such-compiler"])
def test_what_is_no_compiler_is_named(tree, python, cxx):
    """One line, and a build without the extension."""
    answer = python("setup.py", "build_ext", cwd=tree, CXX=cxx)
    assert answer.returncode == 0, answer.stderr
    assert f"no C++ compiler found (CXX={cxx})" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_empty_variable_is_none(tree, python):
    """What it stands for is found out, and nothing is compiled."""
    empty = {"CXX": " ", "SPIKECONV_CUDA": ""}
    answer = python("setup.py", "build_ext", "--help", cwd=tree, **empty)
    assert answer.returncode == 0, answer.stderr
    assert "no C++ compiler found (c++" not in answer.stderr


def test_without_torch(tree, python):
    line = last_line(python("-c", WITHOUT_TORCH, cwd=tree, **COMPILER))
    assert line.startswith("spikeconv: building needs torch in this environment")
    assert "--no-build-isolation" in line


def test_source_that_does_not_compile_fails_the_build(tree, python, tmp_path):
    broken = tmp_path / "spikeconv"
    shutil.copytree(tree, broken, ignore=shutil.ignore_patterns("csrc", "build"))
    (broken / "csrc").mkdir()
    (broken / "csrc" / "module.cpp").write_text("int broken = ;\n")
    answer = python("setup.py", "build_ext", cwd=broken, SPIKECONV_CUDA="0")
    assert answer.returncode != 0
    assert "module.cpp:1" in answer.stdout + answer.stderr


def test_a_toolkit_of_another_major_version_is_named(tree, python, tmp_path):
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 7.5, V7.5.17'\n")
    nvcc.chmod(0o755)
    asked = {"SPIKECONV_CUDA": "1", "CUDA_HOME": str(nvcc.parents[1])}
    line = last_line(python("setup.py", "build_ext", cwd=tree, **asked, **COMPILER))
    assert "its major version 7" in line
