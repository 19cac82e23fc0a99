"""For mkdocs: a page of the site that asks another host for anything is a warning, as of a link."""

from __future__ import annotations

import logging
import re
from typing import Any

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](?:https?:)?//[^"']*"""
    r"""|<link\b[^>]*\bhref=["'](?:https?:)?//[^"']*"""
)
# Below this name mkdocs counts warnings, which end a strict build.
_log = logging.getLogger("mkdocs.plugins.offline")


def on_post_page(output: str, page: Any, **kwargs: Any) -> str:
    """Look at a page as it will be written."""
    for found in _LOADED.findall(output):
        _log.warning("%s loads something from another host: %s", page.url, found)
    return output
