"""Chat templates of our own writing, one file each in `templates/`, by name."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from hanlin.core.run.errors import HanlinError, did_you_mean

_FOLDER = files("hanlin.core.text") / "templates"
_COMMENT = re.compile(r"\A\{#-.*?-#\}\n", re.DOTALL)


@lru_cache
def named_template(name: str) -> str:
    """The template, as it stands in tokenizer_config.json. The comment at its top is for readers of the file alone.

    Raises HanlinError for a name that doesn't exist.
    """
    if name not in template_names():
        raise HanlinError(
            f'There is no chat template "{name}".',
            did_you_mean(name, template_names()),
            "use one of these names, or the Jinja text itself",
            "docs/chat.md",
        )
    text = (_FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    return _COMMENT.sub("", text).removesuffix("\n")


def template_names() -> list[str]:
    return sorted(path.name.removesuffix(".jinja") for path in _FOLDER.iterdir() if path.name.endswith(".jinja"))
