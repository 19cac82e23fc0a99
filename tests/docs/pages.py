"""The pages, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

# Of which tests know what to do: "text" behind a python block is what it prints, "" is a formula.
LANGUAGES = ("python", "pycon", "text", "sh", "")

_FENCE = re.compile(r"^( *)(```+)(\w*)(.*)$")
_HIDDEN = "<!-- python"


@dataclass(frozen=True)
class Block:
    """A fenced block, or code in a comment ``<!-- python ... -->``, which readers do not see.

    Attributes:
        language: as it stands behind the fence.
        text: between the fences, without their indentation.
        line: of the page, from 1, on which the text begins.
        hidden: it stands in a comment.
    """

    language: str
    text: str
    line: int
    hidden: bool = False


def blocks(page: Path) -> list[Block]:
    """All of a page, in order.

    Raises:
        ValueError: a fence or a comment is not closed.
    """
    lines = page.read_text(encoding="utf-8").split("\n")
    found, i = [], 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        hidden = lines[i].startswith(_HIDDEN)
        i += 1
        if fence is None and not hidden:
            continue
        indent, end, language = ("", "-->", "python") if hidden else fence.group(1, 2, 3)
        start = i
        while i < len(lines) and lines[i].strip() != end:
            i += 1
        if i == len(lines):
            raise ValueError(f"{page.name}:{start}: a block begins here that has no end")
        text = "\n".join(line.removeprefix(indent) for line in lines[start:i])
        found.append(Block(language, text, start + 1, hidden))
        i += 1
    return found


def commands(page: Path) -> list[tuple[int, list[str]]]:
    """Every command of a page's sh blocks: its line, and its words."""
    found = []
    for block in blocks(page):
        if block.language != "sh":
            continue
        command, at = "", block.line
        for line, text in enumerate(block.text.split("\n"), start=block.line):
            at = at if command else line
            command += text.removesuffix("\\")
            if text.endswith("\\"):
                continue
            words, command = shlex.split(command, comments=True), ""
            if words:
                found.append((at, words))
    return found
