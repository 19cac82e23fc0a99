"""Each requirement of the project is pinned, once, and in one file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

LISTS = ("run", "test", "bench", "docs", "dev", "drop-in")


def requirements(root: Path, name: str) -> list[str]:
    text = (root / "requirements" / f"{name}.txt").read_text()
    return [line for line in text.splitlines() if line and line[0] not in "#-"]


def package(requirement: str) -> str:
    return re.split(r"[\[;=<>~ ]", requirement)[0].lower().replace("_", "-")


def test_constraints_name_one_exact_version_each(root):
    pins = requirements(root, "constraints")
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin) for pin in pins)
    assert max(Counter(map(package, pins)).values()) == 1


@pytest.mark.parametrize("name", LISTS)
def test_every_listed_package_is_pinned(root, name):
    pinned = set(map(package, requirements(root, "constraints")))
    assert {package(line) for line in requirements(root, name)} <= pinned


def test_every_extra_is_listed(root):
    text = (root / "pyproject.toml").read_text()
    declared = (
        "dependencies = " + text.partition("\ndependencies = ")[2].partition("\n[project.s")[0]
    )
    wanted = {package(quoted) for quoted in re.findall(r'"([^"]+)"', declared)} - {"spikeconv"}
    assert {"torch", "torchvision", "matplotlib", "pytest", "ruff", "spikingjelly"} <= wanted
    assert wanted - {"version", "license"} <= {
        package(line) for name in LISTS for line in requirements(root, name)
    }
