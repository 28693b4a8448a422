"""From a request to its reply: check the name, make the prompt, queue for the model, send what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hanlin.core.generate.reply import Piece
from hanlin.core.generate.stream import chat_prompt, text_prompt
from hanlin.core.model.pretrained import Pretrained
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.reply import Reply
from hanlin.use.serve.schema import ChatRequest, CompletionRequest, GenerationRequest
from hanlin.use.serve.turns import Job, Turns


class Answerer:
    """The two generating endpoints over one model. Every refusal is an ApiError."""

    def __init__(self, loaded: Pretrained, name: str, config: Serve, turns: Turns):
        self._loaded, self._name, self._config, self._turns = loaded, name, config, turns

    async def chat(self, asked: ChatRequest, request: Request) -> Response:
        self.check_name(asked.model)
        if len(asked.messages) > self._config.max_messages:
            raise ApiError(
                400, f"messages: {len(asked.messages)} of at most {self._config.max_messages}.", param="messages"
            )
        messages = [message.plain() for message in asked.messages]
        prompt = await self._prompt(lambda: chat_prompt(self._loaded, messages), "messages")
        return await self._answer(Reply("chat", self._name, len(prompt), asked.include_usage), asked, prompt, request)

    async def complete(self, asked: CompletionRequest, request: Request) -> Response:
        self.check_name(asked.model)
        prompt = await self._prompt(lambda: text_prompt(self._loaded, asked.prompt), "prompt")
        return await self._answer(Reply("text", self._name, len(prompt), asked.include_usage), asked, prompt, request)

    def check_name(self, wanted: str) -> None:
        if wanted != self._name:
            message = f"The model {wanted[:100]!r} is not served here. Served: {self._name!r}."
            raise ApiError(404, message, param="model", code="model_not_found")

    async def _prompt(self, make: Callable[[], list[int]], param: str) -> list[int]:
        ids, context = await self._turns.encode(make), self._loaded.context
        if len(ids) >= context:
            message = f"The prompt has {len(ids)} tokens; this model's context is {context} tokens, the reply included."
            raise ApiError(400, message, param=param, code="context_length_exceeded")
        return ids

    async def _answer(self, reply: Reply, asked: GenerationRequest, prompt: list[int], request: Request) -> Response:
        headers = {"x-hanlin-ignored": ", ".join(asked.ignored)} if asked.ignored else {}
        job = self._turns.start(prompt, asked.sampling(self._config.max_tokens))
        job.watch = asyncio.create_task(cancel_when_gone(request, job))
        if asked.stream:
            return await _streamed(reply, job, headers)
        return await _whole(reply, job, headers)


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
