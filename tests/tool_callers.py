"""Tokenizers with templates that show tools, one for each way in which models write calls; what was read, joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from chat_templates import CASES, backend_of, settings_of, tokenizer_of

from hanlin.core.text.calls import Event
from hanlin.core.text.tokenizer import Tokenizer

LLAMA31 = """{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' ~ message.content ~ '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' }}
        {%- if message.role == 'user' and loop.first and tools %}
            {{- 'Respond in the format {"name": function name, "parameters": {…}}.\\n\\n' ~ tools | tojson ~ '\\n\\n' }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {{- '; ' if not loop.first }}
                {{- '{"name": "' ~ call.function.name ~ '", "parameters": ' ~ call.function.arguments | tojson ~ '}' }}
            {%- endfor %}
        {%- else %}
            {{- message.content | trim }}
        {%- endif %}
        {{- '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
"""Llama 3.1's published form, cut down to what these tests need."""

MISTRAL11 = """{{- bos_token }}
{%- if tools %}
    {{- '[AVAILABLE_TOOLS]' ~ tools | tojson ~ '[/AVAILABLE_TOOLS]' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '[INST]' ~ message.content ~ '[/INST]' }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS]' ~ message.content ~ '[/TOOL_RESULTS]' }}
    {%- elif message.role == 'assistant' %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '[TOOL_CALLS]' ~ call.function.name ~ '[ARGS]' ~ call.function.arguments | tojson }}
        {%- endfor %}
        {{- eos_token }}
    {%- endif %}
{%- endfor %}
"""
"""Mistral's form since version 11 of its tokenizer."""

GEMMA_TOOLS = """{{- bos_token }}
{%- for message in messages %}
    {{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else 'user') ~ '\\n' }}
    {%- if loop.first and tools %}
        {{- 'You may call functions: [{"name": …, "parameters": {…}}]\\n' ~ tools | tojson ~ '\\n\\n' }}
    {%- endif %}
    {%- if message.tool_calls %}
        {{- '[' }}
        {%- for call in message.tool_calls %}
            {{- ', ' if not loop.first }}
            {{- '{"name": "' ~ call.function.name ~ '", "parameters": ' ~ call.function.arguments | tojson ~ '}' }}
        {%- endfor %}
        {{- ']' }}
    {%- else %}
        {{- message.content | trim }}
    {%- endif %}
    {{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}
"""
"""Gemma with tools as its maker's guide shows them."""


@lru_cache
def caller(name: str) -> Tokenizer:
    """qwen3, mistral (our own templates), mistral11, llama31, gemma."""
    if name == "llama31":
        case = CASES["llama3"]
        case = replace(case, special=(*case.special, "<|python_tag|>"))
        return Tokenizer(backend_of(case), settings_of(case, chat_template=LLAMA31))
    if name == "mistral11":
        case = CASES["mistral"]
        case = replace(case, special=(*case.special, "[ARGS]", "[CALL_ID]"))
        return Tokenizer(backend_of(case), settings_of(case, chat_template=MISTRAL11))
    if name == "gemma":
        case = CASES["gemma"]
        return Tokenizer(backend_of(case), settings_of(case, chat_template=GEMMA_TOOLS))
    return tokenizer_of(name)


CALLERS = ("qwen3", "mistral", "mistral11", "llama31", "gemma")


def joined(events: Sequence[Event]) -> list[tuple[str, str]]:
    """Events with the pieces of a text, a thought or one call's arguments joined."""
    found: list[tuple[str, str]] = []
    for event in events:
        if found and found[-1][0] == event.kind != "call":
            found[-1] = (event.kind, found[-1][1] + event.text)
        else:
            found.append((event.kind, event.text))
    return found
