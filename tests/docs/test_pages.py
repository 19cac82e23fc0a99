"""What can be chosen by name is explained, and the figures are those that were measured."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import spikeconv
from spikeconv.calibrate import INITIAL_POTENTIALS, THRESHOLDS
from spikeconv.calibrate.correct import CORRECTION_NAMES
from spikeconv.fuse.engines import _ENGINES
from spikeconv.network.timing import Timing
from spikeconv.ops.call import EMITS
from spikeconv.ops.native import instruction_sets
from spikeconv.surrogate import BUILT_IN, BuiltIn
from tests.docs.pages import PAGES, ROOT
from tests.docs.test_commands import environment_variables

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", (*THRESHOLDS, *CORRECTION_NAMES))
def test_every_method_has_a_section_with_formula_and_source(name: str) -> None:
    sections = re.split(r"^### ", page("methods"), flags=re.MULTILINE)
    (section,) = (s for s in sections if s.partition("\n")[0] == name)
    assert "\n```\n" in section
    assert "Source:" in section.replace("\n", " ")


def test_what_best_chose_is_what_was_measured() -> None:
    content = json.loads((ROOT / "bench/results/accuracy/accuracy.json").read_text())
    others = {
        (name, method, int(T), cell["chosen"]["corrections"])
        for name, network in content["networks"].items()
        for method, cells in network["methods"].items()
        for T, cell in cells.items()
        if method.startswith("best") and cell["chosen"]["granularity"] == "channel"
        if cell["chosen"]["corrections"] != "weights+search"
    }
    assert others == {
        ("resnet20-shared", "best-signed", 64, "bias"),
        ("resnet20-cifar10", "best-signed", 64, "bias"),
        ("vgg16-cifar10-clip", "best-signed", 32, "bias"),
        ("vgg16-cifar10-clip", "best-signed", 64, "bias"),
    }
    said = " ".join(page("methods").split())
    assert (
        'for each channel but four, all of signed neurons, which took `"bias"`: both ReLU networks '
        "at T = 64 and the VGG-16 at T = 32 and 64;"
    ) in said


@pytest.mark.parametrize("name", INITIAL_POTENTIALS)
def test_every_initial_potential_has_a_row(name: str) -> None:
    assert f'| `"{name}"` |' in page("methods")


@pytest.mark.parametrize("name", Timing.__dataclass_fields__)
def test_every_way_to_spend_steps_has_a_row(name: str) -> None:
    assert f"| `{name}=" in page("methods")


@pytest.mark.parametrize("name", spikeconv.backends())
def test_every_backend_has_a_row(name: str) -> None:
    assert f"| `{name}` |" in page("kernels")


@pytest.mark.parametrize("name", EMITS)
def test_every_kind_of_output_has_a_row(name: str) -> None:
    assert f'| `"{name}"` |' in page("kernels")


def test_every_instruction_set_has_a_row() -> None:
    source = (ROOT / "csrc" / "cpu" / "isa.cpp").read_text(encoding="utf-8")
    names = set(re.findall(r'\{"(\w+)", \w+::if_advance', source))
    assert {"default", *instruction_sets()} <= names
    for name in names:
        assert f"| `{name}` |" in page("kernels")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"`SPIKECONV_ISA` takes (.*?), if", readme)
    assert set(re.findall(r"`(\w+)`", said)) == names


@pytest.mark.parametrize("name", _ENGINES)
def test_every_engine_of_the_integer_program_has_a_row(name: str) -> None:
    assert f'| `"{name}"` |' in page("integers")


def test_every_variable_of_ours_has_a_row() -> None:
    ours = {name for name in environment_variables() if name.startswith("SPIKECONV_")}
    assert {"SPIKECONV_BACKEND", "SPIKECONV_ISA", "SPIKECONV_CUDA"} <= ours
    for name in ours:
        assert f"| `{name}` |" in page("kernels"), name


@pytest.mark.parametrize("kind", BuiltIn.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_surrogate_has_a_row_with_its_default(kind: type[BuiltIn]) -> None:
    ((argument, value),) = vars(kind()).items()
    assert f"| `{kind.__name__}({argument}={value})` |" in page("training")
    assert len(BUILT_IN) == len(BuiltIn.__subclasses__())


@pytest.mark.parametrize("name", [name for name in spikeconv.__all__ if name[0] != "_"])
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert f"heading: spikeconv.{name}\n" in page("api")


def test_every_page_can_be_found() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    for path in PAGES:
        if path.parent == DOCS:
            assert f": {path.name}\n" in nav


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)  # where it finds what it imports, as a script does
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_measurements(tables: ModuleType) -> None:
    text = page("results")
    found = re.findall(r"<!-- table ([\w-]+) -->", text)
    assert sorted(found) == sorted(tables.TABLES)
    assert tables.rewritten(text) == text, "python docs/tables.py writes them anew"


def test_a_table_that_was_changed_is_found(tables: ModuleType) -> None:
    text = page("results")
    assert tables.rewritten(text.replace("91.73", "92.73")) == text


def test_who_was_not_timed_is_named_with_the_reason(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = {"T": 2, "N": 4096}
    row = {"name": "clone", "emit": "copy", "dtype": "float32", "ns_per_element": 1.0}
    facts = {"machine": "a desk", "torch": "2", "load": 0.5, "commit": "abc"}
    content = {"setting": setting, "rows": [{**row, "times_clone": 1.0}], "machine": facts}
    content |= {"refused": {"ours": "1 spike"}, "skipped": {"a": "no GPU", "b": "no compiler"}}
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    file = tmp_path / "desk" / "kernels.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    assert tables.neurons().split("\n\n") == [
        "**x = [T, N], T = 2 steps of N = 4,096 neurons**",
        "|  | emits | float32 |\n| --- | --- | ---: |\n| `clone` | copy | 1.00 (1.00) |",
        "Refused, so not timed: `ours`: 1 spike.",
        "Not run: `a`: no GPU; `b`: no compiler.",
        "a desk; torch 2, load 0.5 when it began, commit abc.",
    ]


def test_no_page_asks_another_host_for_anything() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert "extra_javascript" not in config
    for path in (*DOCS.glob("*.md"), *DOCS.glob("*.css")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"!\[[^]]*\]\(http|<(img|script|link|iframe)|@import|url\(", text), (
            path
        )


def test_warnings_end_the_build() -> None:
    # With --quiet mkdocs hides them from --strict.
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "/mkdocs build --strict\n" in makefile
