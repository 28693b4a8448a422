"""`hanlin demo`: the recipe, then the page that explains what happened, then the chat."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlin.core.run.config import put
from hanlin.core.run.errors import HanlinError
from hanlin.report import summary_lines, write_report
from hanlin.terminal import terminal_view
from hanlin.workflow import run_recipe

FINETUNE_SHARE = 1 / 5


def run_demo(minutes: float, out: Path, serve: bool, overrides: Mapping[str, Any]) -> None:
    """Run recipes/demo.yaml with `minutes` of pretraining and a fifth of that of fine-tuning; explain; serve if
    asked."""
    began = time.monotonic()
    values: dict[str, Any] = {
        "out": str(out),
        "base": {"train": {"minutes": minutes}},
        "chat": {"train": {"minutes": round(minutes * FINETUNE_SHARE, 3)}},
    }
    for name, value in overrides.items():
        put(values, name, value)
    with terminal_view() as listener:
        run_recipe(recipe_path("demo"), values, (listener,))
    markdown, page = write_report(out)
    print()
    print("\n".join(summary_lines(out)))
    print(f"\n完成，共 {(time.monotonic() - began) / 60:.1f} 分鐘。報告：{page}（或 {markdown}）")
    if not serve:
        command = "hanlin" if shutil.which("hanlin") else sys.argv[0]
        print(f"與模型對話：{command} serve {out}/chat   （網頁，http://127.0.0.1:8000）")
        print(f"或在終端機：{command} chat {out}/chat")
        return
    from hanlin.use.serve.config import Serve
    from hanlin.use.serve.run import serve as serve_model

    serve_model(out / "chat", Serve(open_page=True))


def recipe_path(name: str) -> Path:
    """A recipe by name: from the checkout, or from where the wheel puts them."""
    places = [Path(__file__).parents[2] / "recipes", Path(sysconfig.get_path("data")) / "share" / "hanlin" / "recipes"]
    for place in places:
        if (place / f"{name}.yaml").exists():
            return place / f"{name}.yaml"
    raise HanlinError(
        f"The recipe {name}.yaml was not found.",
        f"it in {' or '.join(map(str, places))}",
        "install hanlin again, or give a path to hanlin run",
        "docs/recipes.md",
    )
