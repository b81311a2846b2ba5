"""For the page of functions and classes: our docstrings say `Example:`, of which griffe knows the plural alone."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the section, so that it is shown as a console session."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called with everything that was read."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
