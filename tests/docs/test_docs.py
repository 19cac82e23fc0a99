"""All code in README.md and docs/ runs, page by page, and prints what stands below it."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spikeconv
from spikeconv import models
from spikeconv.models import build_model
from tests.docs.pages import LANGUAGES, PAGES, Block, blocks

# What README.md takes as the reader's own. The pages in docs/ say so themselves, in comments.
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": lambda: {
        "spikeconv": spikeconv,
        "loader": torch.rand(8, 3, 32, 32),
        "net": nn.Sequential(nn.Linear(2, 3), spikeconv.IFNode()),
    },
}

# Whose mark a page gets that imports it, or calls what does.
LIBRARIES = ("spikingjelly", "snntorch", "sinabs", "norse", "nir")

# A figure, in the shape that reports give it: sign, thousands, decimals, exponent, unit's prefix.
_FIGURE = re.compile(r"(-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?)(%?)(?: ([pnumkMGT])(?=J?\b))?")
_UNITS = {"": 1.0, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}


def with_marks(page: Path) -> Any:
    """A page as a parameter, marked by the libraries that its code imports."""
    code = "\n".join(block.text for block in blocks(page))
    needed = [
        name for name in LIBRARIES if re.search(rf"\b(import |from |to_|from_){name}\b", code)
    ]
    return pytest.param(page, id=page.name, marks=[getattr(pytest.mark, n) for n in needed])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes on one thread, smaller: other tests have it in full."""
    monkeypatch.setattr(models, "build_model", lambda name: build_model("resnet8"))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("page", [with_marks(page) for page in PAGES])
def test_code_runs_and_prints_what_stands_below_it(page: Path) -> None:
    namespace = {"__name__": page.stem, **GIVEN.get(page.name, dict)()}
    printed: str | None = None
    for block in blocks(page):
        if block.language == "text" and printed is not None:
            assert_alike(printed, block.text, f"{page.name}:{block.line}")
        printed = run(block, page, namespace) if block.language == "python" else None
        if block.language == "pycon":
            run_session(block, page, namespace)


def run(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """What a block prints. A traceback shows the lines of the page."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, namespace)
    return output.getvalue()


def run_session(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    """A block of >>> and answers, which are exact."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    test = parser.get_doctest(block.text, namespace, page.name, str(page), block.line - 1)
    test.globs = namespace  # not a copy of it: what follows reads what is set here
    said = io.StringIO()
    results = runner.run(test, out=said.write, clear_globs=False)
    assert results.attempted > 0
    assert results.failed == 0, said.getvalue()


def assert_alike(printed: str, shown: str, where: str) -> None:
    """The same words, and nearly the same figures: from machine to machine roundings differ."""
    assert words(printed) == words(shown), where
    for given, wanted in zip(figures(printed), figures(shown), strict=True):
        assert given == pytest.approx(wanted, rel=0.2, abs=0.02), f"{where}: {given}, not {wanted}"


def words(text: str) -> list[str]:
    """Lines with # for figures, and one space where there are several."""
    lines = (_FIGURE.sub("#", line) for line in text.strip().split("\n"))
    return [" ".join(line.split()) for line in lines]


def figures(text: str) -> list[float]:
    """All of them, in order, without their units."""
    found = _FIGURE.findall(text)
    return [
        float(number.replace(",", "").rstrip(".")) * _UNITS[prefix] / (100 if percent else 1)
        for number, percent, prefix in found
    ]


def test_words_and_figures() -> None:
    text = "12 images  0.32 [-0.1, 5.0%]\n takes 69.8 M MACs: 64.8 uJ"
    assert words(text) == ["# images # [#, #]", "takes # MACs: #J"]
    assert figures(text) == pytest.approx([12, 0.32, -0.1, 0.05, 69.8e6, 64.8e-6])


@pytest.mark.parametrize("shown", ("rate 0.149", "error 0.3", "error 0.149 0"))
def test_what_was_not_printed_is_found(shown: str) -> None:
    with pytest.raises(AssertionError):
        assert_alike("error 0.149", shown, "here")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    found = blocks(page)
    for block in found:
        assert block.language in LANGUAGES, f"{page.name}:{block.line}"
        if block.language == "":  # a formula; code would go untested
            assert not re.search(r"import |spikeconv|torch|\w\.\w+\(", block.text)
    fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * sum(not block.hidden for block in found)
