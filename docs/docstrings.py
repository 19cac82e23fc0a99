"""For the reference page: what stands in docstrings, as the parser of Google's style reads it."""

from __future__ import annotations

import re
from typing import Any

import griffe


class OurStyle(griffe.Extension):
    """``::`` before an indented block, and one example."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite an object's docstring, once it is found."""
        if obj.docstring is not None:
            text = re.sub(r"(?<=\w)::$", ":", obj.docstring.value, flags=re.MULTILINE)
            text = re.sub(r"^::$\n", "", text, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
