"""From a request to its reply: check the name, make the prompt, queue for the model, send what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hanlin.core.generate.reply import Piece
from hanlin.core.generate.stream import text_ids
from hanlin.core.text.chat import render
from hanlin.use.serve.account import account_of
from hanlin.use.serve.backend import Job, Served
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.models import Models
from hanlin.use.serve.reply import Reply
from hanlin.use.serve.schema import ChatRequest, CompletionRequest, GenerationRequest


class Answerer:
    """The two generating endpoints over the models. Every refusal is an ApiError."""

    def __init__(self, models: Models, config: Serve):
        self._models, self._config = models, config

    async def chat(self, asked: ChatRequest, request: Request) -> Response:
        model, adapter = self._models.writer(asked.model)
        if len(asked.messages) > self._config.max_messages:
            raise ApiError(
                400, f"messages: {len(asked.messages)} of at most {self._config.max_messages}.", param="messages"
            )
        messages = [message.plain() for message in asked.messages]
        tokenizer = model.tokenizer_of(adapter)
        prompt = await _prompt(model, lambda: render(messages, tokenizer, add_generation_prompt=True).ids, "messages")
        return await self._answer(model, adapter, "chat", asked, prompt, request)

    async def complete(self, asked: CompletionRequest, request: Request) -> Response:
        model, adapter = self._models.writer(asked.model)
        prompt = await _prompt(model, lambda: text_ids(model.tokenizer, asked.prompt, model.reads_whole), "prompt")
        return await self._answer(model, adapter, "text", asked, prompt, request)

    async def _answer(
        self,
        model: Served,
        adapter: str,
        kind: Literal["chat", "text"],
        asked: GenerationRequest,
        prompt: list[int],
        request: Request,
    ) -> Response:
        reply = Reply(kind, asked.model, len(prompt), asked.include_usage)
        headers = {"x-hanlin-ignored": ", ".join(asked.ignored)} if asked.ignored else {}
        sampling = asked.sampling(self._config.max_tokens)
        job = account_of(request).start(model, prompt, sampling, adapter=adapter)
        request.state.watch = asyncio.create_task(cancel_when_gone(request, job))
        if asked.stream:
            return await _streamed(reply, job, headers)
        return await _whole(reply, job, headers)


async def _prompt(model: Served, make: Callable[[], list[int]], param: str) -> list[int]:
    ids, context = await model.backend.encode(make), model.context
    if len(ids) >= context:
        message = f"The prompt has {len(ids)} tokens; this model's context is {context} tokens, the reply included."
        raise ApiError(400, message, param=param, code="context_length_exceeded")
    return ids


async def cancel_when_gone(request: Request, job: Job) -> None:
    """Free the model as soon as nobody waits for this reply. Also returns when the reply has been sent."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancel()


async def _whole(reply: Reply, job: Job, headers: dict[str, str]) -> Response:
    texts, last = [], Piece("", 0)
    async for last in job.pieces():
        texts.append(last.text)
    return JSONResponse(reply.whole("".join(texts), last), headers=headers)


async def _streamed(reply: Reply, job: Job, headers: dict[str, str]) -> Response:
    """The status waits for the first piece, so that a model that fails at once answers 500 and not a broken stream."""
    pieces = job.pieces()
    first = await anext(pieces, Piece("", 0))

    async def all_pieces() -> AsyncIterator[Piece]:
        yield first
        async for piece in pieces:
            yield piece

    headers = {**headers, "Cache-Control": "no-store"}
    return StreamingResponse(reply.events(all_pieces()), media_type="text/event-stream", headers=headers)
