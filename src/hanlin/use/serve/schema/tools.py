"""Tools a model may call, and which it must."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hanlin.use.serve.schema.base import Part


class Function(Part):
    """name: what the model calls. parameters: the JSON schema of the arguments."""

    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    type: Literal["function"]
    function: Function

    def plain(self) -> dict[str, Any]:
        """As templates show it to the model."""
        shown = self.function.model_dump(exclude={"strict"}, exclude_none=True)
        return {"type": "function", "function": shown}


class ChosenFunction(Part):
    name: str


class ChosenTool(Part):
    type: Literal["function"]
    function: ChosenFunction


ToolChoice = Literal["none", "auto", "required"] | ChosenTool


class CalledFunction(Part):
    """arguments: the text of a JSON object."""

    name: str
    arguments: str


class ToolCall(Part):
    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction
