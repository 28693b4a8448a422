"""POST /v1/chat/completions: a conversation, and what is asked of its next message."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hanlin.use.serve.schema.base import Part, refusal
from hanlin.use.serve.schema.tools import ChosenTool, Tool, ToolCall, ToolChoice
from hanlin.use.serve.schema.writing import WritingRequest

OURS = frozenset({"messages", "tokenizer", "tools", "documents", "add_generation_prompt"})
"""Names under which a template gets what the request says elsewhere."""


def _joined_parts(content: Any) -> Any:
    """OpenAI's other spelling of a text: a list of parts."""
    if not isinstance(content, list):
        return content
    texts = [
        part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text" and "text" in part
    ]
    if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        raise PydanticCustomError("not_text", "this model reads text only: a string, or parts of type text")
    return "".join(texts)


def _not_ours(variables: dict[str, Any]) -> dict[str, Any]:
    if taken := sorted(OURS & variables.keys()):
        raise refusal("reserved", "chat_template_kwargs", f"{taken[0]} has its own place in a request")
    return variables


TemplateVariables = Annotated[dict[str, Any], AfterValidator(_not_ours)]


class TextPart(Part):
    type: Literal["text"]
    text: str


class ChatMessage(Part):
    """One turn. Other fields (`refusal`, `annotations`) come back from clients that send their history as they received
    it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[
        str | None, BeforeValidator(_joined_parts, json_schema_input_type=str | list[TextPart] | None)
    ] = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ChatMessage:
        wordless = self.role == "assistant" and (self.tool_calls or self.reasoning_content)
        if self.content is None and not wordless:
            raise PydanticCustomError("no_content", "a message needs content: a text")
        if self.tool_calls and self.role != "assistant":
            raise PydanticCustomError("not_assistant", "only the assistant calls tools")
        return self

    def plain(self) -> dict[str, Any]:
        """The message as the renderer takes it."""
        return self.model_dump(exclude_none=True)


class NamedSchema(Part):
    """schema: what the reply's JSON follows. It is always followed to the letter, whatever `strict` says."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise refusal("missing_schema", "response_format.json_schema", "type json_schema needs json_schema")
        return self

    @property
    def schema_asked_for(self) -> dict[str, Any] | None:
        """None for free text."""
        if self.type == "text":
            return None
        named = self.json_schema.schema_ if self.type == "json_schema" and self.json_schema else None
        return {"type": "object"} if named is None else named


class ChatRequest(WritingRequest):
    """A conversation to go on with."""

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        **WritingRequest.neutral,
        "functions": ([],),
        "function_call": ("none", "auto"),
        "modalities": (["text"],),
        "audio": (),
        "prediction": (),
        "web_search_options": (),
    }

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, description="the longest reply, in tokens; before max_tokens")
    logprobs: bool | None = Field(None, description="tell each token's log-probability")
    top_logprobs: int | None = Field(None, ge=0, le=20, description="and so many of the likeliest in its place")
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = Field(None, description="false: at most one call a reply")
    chat_template_kwargs: TemplateVariables | None = Field(
        None, description="what the template asks for besides, as enable_thinking"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise refusal("missing_logprobs", "top_logprobs", "top_logprobs needs logprobs: true")
        self._check_form()
        self._check_tools()
        return self

    def _check_form(self) -> None:
        schema = self.response_format and self.response_format.schema_asked_for is not None
        given = [*(["response_format"] if schema else []), *super().form()]
        if len(given) > 1:
            raise refusal("two_forms", given[1], f"a reply has one form, and {given[0]} already gives it")
        if given and self.calls_allowed:
            raise refusal("two_forms", given[0], "a reply of a given form can't call tools; set tool_choice to none")

    def _check_tools(self) -> None:
        names = [tool.function.name for tool in self.tools or ()]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise refusal("two_tools", "tools", f"two tools are called {repeated[0]}")
        if self.must_call and not names:
            raise refusal("missing_tools", "tool_choice", "there are no tools to call")
        if self.only_tool and self.only_tool not in names:
            raise refusal("unknown_tool", "tool_choice", f"no tool is called {self.only_tool}")

    @property
    def calls_allowed(self) -> bool:
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def must_call(self) -> bool:
        return self.tool_choice == "required" or bool(self.only_tool)

    @property
    def only_tool(self) -> str:
        """The one function that has to be called; "" where it is the model's choice."""
        return self.tool_choice.function.name if isinstance(self.tool_choice, ChosenTool) else ""

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def form(self) -> dict[str, Any]:
        schema = self.response_format.schema_asked_for if self.response_format else None
        return super().form() if schema is None else {"json_schema": schema}
