"""POST /tokenize and /detokenize, in vLLM's shapes: what a model reads, without asking it."""

from __future__ import annotations

from typing import Any

from hanlin.core.generate.stream import text_ids
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backend import Backend, Embedder, Served, ServedEncoder
from hanlin.use.serve.models import Models
from hanlin.use.serve.prompts import conversation_ids, plain_tools, refuse_unknown_ids
from hanlin.use.serve.schema.texts import DetokenizeRequest, TokenizeRequest
from hanlin.use.serve.token_log import spelled


async def tokenize(asked: TokenizeRequest, models: Models) -> dict[str, Any]:
    """Ids of a text or of a conversation, as the endpoints that write would read it."""
    model, tokenizer = models.reader(asked.model)

    def work() -> dict[str, Any]:
        ids = _ids(asked, model, tokenizer)
        strings = [spelled(tokenizer.token_bytes[token]) for token in ids] if asked.return_token_strs else None
        return {"count": len(ids), "max_model_len": model.context, "tokens": ids, "token_strs": strings}

    return await _thread(model).encode(work)


async def detokenize(asked: DetokenizeRequest, models: Models) -> dict[str, Any]:
    """The text of ids, special tokens by their names. Raises ApiError 400 for ids that the model doesn't have."""
    model, tokenizer = models.reader(asked.model)
    refuse_unknown_ids(asked.tokens, tokenizer, "tokens")
    return {"prompt": await _thread(model).encode(lambda: tokenizer.decode(asked.tokens, skip_special=False))}


def _thread(model: Served | ServedEncoder) -> Backend | Embedder:
    return model.backend if isinstance(model, Served) else model.embedder


def _ids(asked: TokenizeRequest, model: Served | ServedEncoder, tokenizer: Tokenizer) -> list[int]:
    if asked.messages is not None:
        variables, tools = asked.chat_template_kwargs or {}, plain_tools(asked.tools)
        ready = asked.add_generation_prompt
        return conversation_ids(tokenizer, asked.messages, tools=tools, variables=variables, ready=ready)
    text = asked.prompt or ""
    if not asked.add_special_tokens:
        return tokenizer.encode(text)
    if isinstance(model, ServedEncoder):
        return tokenizer.encode_framed([text])[0]
    return text_ids(tokenizer, text, model.reads_whole)
