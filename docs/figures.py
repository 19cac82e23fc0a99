"""For mkdocs: the figures in bench/results, which lie outside of its folder, as a part of the site.

Pages name them as ../bench/results/..., where they are in the repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).resolve().parents[1] / "bench" / "results"


def on_files(files: Files, config: Any) -> Files:
    """Add every figure to what is published."""
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in (".png", ".svg"):
            name = f"bench/results/{path.relative_to(FOLDER).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Let links into that folder point to where it is published."""
    return markdown.replace("](../bench/results/", "](bench/results/")
