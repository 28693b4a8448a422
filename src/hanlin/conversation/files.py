"""Conversations as JSON files: {"messages": […], "tools": […]}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hanlin.conversation.dialogue import Dialogue
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.messages import check_messages

PAGE = "docs/chat.md"


def read_conversation(path: Path) -> dict[str, Any]:
    """{"messages": […], "tools": […]}, or the list of messages alone. Raises HanlinError for anything else."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HanlinError(
            f"{path} is not a readable conversation ({error}).", 'JSON: {"messages": […]}', "correct the file", PAGE
        ) from None
    body = {"messages": body} if isinstance(body, list) else body
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise HanlinError(f"{path} has no messages.", 'JSON: {"messages": […]}', "correct the file", PAGE)
    return body


def load_dialogue(path: Path) -> Dialogue:
    """Raises HanlinError for a file that holds no conversation."""
    body = read_conversation(path)
    if not all(isinstance(message, dict) for message in body["messages"]):
        raise HanlinError(f"{path}: a message is no object.", '{"role": …, "content": …}', "correct the file", PAGE)
    check_messages(body["messages"])
    return Dialogue(body["messages"], body.get("tools") or ())


def save_dialogue(path: Path, dialogue: Dialogue) -> None:
    """Written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"messages": dialogue.messages, **({"tools": dialogue.tools} if dialogue.tools else {})})
