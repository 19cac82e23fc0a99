"""Every command in README.md and docs/ exists, and takes the options that stand there."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from spikeconv.cli import main
from tests.docs.pages import PAGES, ROOT, commands

COMMANDS = [
    pytest.param(words, id=f"{page.name}:{line}")
    for page in PAGES
    for line, words in commands(page)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = check_environment(words)
    program, arguments = words[0], words[1:]
    if program in ("python", "torchrun"):
        parse = python_parser(arguments)
    elif program == "spikeconv":
        parse = lambda: main(arguments)  # noqa: E731
    else:
        checks: dict[str, Callable[[list[str]], None]] = {
            "make": check_targets,
            "pip": check_installed,
            "bench/gpu_suite.sh": check_suite,
        }
        assert program in checks, f"{program}: say here how it is checked"
        return checks[program](arguments)
    assert_parsed(parse, words, monkeypatch)
    return None


class _Parsed(Exception):
    """The arguments were taken."""


def assert_parsed(
    call: Callable[[], Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program's own parser takes the arguments; nothing else of it is run."""
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(parser, *args, **kwargs)
        raise _Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # some are for a GPU
    with pytest.raises(_Parsed):
        try:
            call()
        except SystemExit as error:
            pytest.fail(f"{' '.join(words)}: not understood, exit status {error.code}")


def python_parser(arguments: list[str]) -> Callable[[], Any]:
    """What parses the arguments behind `python` or `torchrun ... -m`."""
    if "-m" in arguments:
        module, *rest = arguments[arguments.index("-m") + 1 :]
        assert module == "spikeconv"
        return lambda: main(rest or ["info"])
    script, *rest = arguments
    return lambda: load(ROOT / script).main(rest)


def load(script: Path) -> ModuleType:
    """A script as a module; those of bench/ import one another, as when Python runs them."""
    spec = importlib.util.spec_from_file_location(f"docs_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(script.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module


def check_environment(words: list[str]) -> list[str]:
    """The words behind settings of the environment, whose names something reads."""
    settings = [word for word in words if re.fullmatch(r"[A-Z_]+=.*", word)]
    assert words[: len(settings)] == settings
    for setting in settings:
        assert setting.partition("=")[0] in environment_variables(), setting
    return words[len(settings) :]


def environment_variables() -> set[str]:
    """Names that the sources read from the environment, and some that torch and Triton read."""
    sources = [ROOT / "setup.py"]
    for folder in ("spikeconv", "csrc", "bench"):
        sources += [p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".cpp")]
    read = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()["'](\w+)""")
    found = {name for path in sources for name in read.findall(path.read_text(encoding="utf-8"))}
    return found | {"TRITON_INTERPRET", "OMP_NUM_THREADS"}


def check_targets(arguments: list[str]) -> None:
    """`make` has these targets."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert phony is not None
    variables = {word.partition("=")[0] for word in arguments if "=" in word}
    assert variables <= set(re.findall(r"^(\w+) \?=", text, re.MULTILINE))
    assert {word for word in arguments if "=" not in word} <= set(phony[1].split())


def check_installed(arguments: list[str]) -> None:
    """`pip install` takes this project, with extras that it declares, or packages that it names."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    command, *words = arguments
    assert command == "install"
    for word in (word for word in words if not word.startswith("-")):
        own = re.fullmatch(r"\.(?:\[([\w,]+)\])?", word)
        if own is None:
            assert word in project, f"{word}: pyproject.toml does not name it"
        for extra in (own[1] or "").split(",") if own else ():
            assert not extra or re.search(rf"^{extra} = ", extras, re.MULTILINE), extra


def check_suite(arguments: list[str]) -> None:
    """The script of the GPU's benchmarks knows these options."""
    script = (ROOT / "bench" / "gpu_suite.sh").read_text(encoding="utf-8")
    for option in (word for word in arguments if word.startswith("-")):
        assert re.search(rf"^ *(\S+ \| )?{option}\)", script, re.MULTILINE), option


def test_there_are_commands_of_every_kind() -> None:
    # A search that found none would let everything pass.
    programs = {param.values[0][0] for param in COMMANDS}
    assert {"spikeconv", "python", "torchrun", "make"} <= programs


@pytest.mark.parametrize("words", (["spikeconv", "evaluate", "--no-such-option"], ["make", "tea"]))
def test_what_does_not_exist_is_found(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_command(words, monkeypatch)
