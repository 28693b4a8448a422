"""From a request to its reply: find the model, make the prompts, queue for it, send what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hanlin.core.generate.sampling import Sampling
from hanlin.core.text.calls import reader_of
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backend import Job, Served
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.jobs import Together
from hanlin.use.serve.models import Models
from hanlin.use.serve.prompts import Prompt, chat_prompt, fitting, plain_prompt
from hanlin.use.serve.reply import Reply
from hanlin.use.serve.schema.chat import ChatRequest
from hanlin.use.serve.schema.texts import MAX_TEXTS, CompletionRequest
from hanlin.use.serve.schema.writing import WritingRequest, seeded
from hanlin.use.serve.shapes import ChatShape, Shape, TextShape
from hanlin.use.serve.spoken import Spoken
from hanlin.use.serve.token_log import TokenLog
from hanlin.use.serve.watch.account import account_of


@dataclass(frozen=True)
class Writer:
    """Who answers: a model, one of its adapters ("" for none), and the tokenizer that goes with both."""

    model: Served
    adapter: str
    tokenizer: Tokenizer


class Answerer:
    """The two endpoints that write, over the models. Every refusal is an ApiError."""

    def __init__(self, models: Models, config: Serve):
        self._models, self._config = models, config

    async def chat(self, asked: ChatRequest, request: Request) -> Response:
        writer = self._writer(asked.model)
        refuse_many(len(asked.messages), self._config.max_messages, "messages")
        prompt = await fitting(writer.model, lambda: chat_prompt(asked, writer.tokenizer), "messages")
        spoken = [
            Spoken(
                reader_of(writer.tokenizer, tools=asked.calls_allowed, thought_open=prompt.thought_open),
                TokenLog(writer.tokenizer) if asked.logprobs else None,
                one_call=asked.parallel_tool_calls is False,
                thought_open=prompt.thought_open,
            )
            for _ in range(asked.num_replies)
        ]
        return await self._answer(writer, asked, [prompt], spoken, ChatShape(await _words(asked, writer)), request)

    async def complete(self, asked: CompletionRequest, request: Request) -> Response:
        writer, echo = self._writer(asked.model), bool(asked.echo)
        refuse_many(len(asked.prompts) * asked.num_replies, MAX_TEXTS, "prompt")
        model, tokenizer = writer.model, writer.tokenizer
        prompts = [
            await fitting(model, partial(plain_prompt, text, model, tokenizer, echo), "prompt")
            for text in asked.prompts
        ]
        echoed = [prompt.echoed for prompt in prompts for _ in range(asked.num_replies)]
        spoken = [Spoken(log=None if asked.logprobs is None else TokenLog(writer.tokenizer)) for _ in echoed]
        shape = TextShape(await _words(asked, writer), echoed)
        return await self._answer(writer, asked, prompts, spoken, shape, request)

    def _writer(self, name: str) -> Writer:
        model, adapter = self._models.writer(name)
        return Writer(model, adapter, model.tokenizer_of(adapter))

    async def _answer(
        self,
        writer: Writer,
        asked: WritingRequest,
        prompts: Sequence[Prompt],
        spoken: Sequence[Spoken],
        shape: Shape,
        request: Request,
    ) -> Response:
        engine = self._config.engine
        refuse_many(len(spoken), engine.max_streams + engine.max_waiting, "n")
        refuse_unknown_biases(asked, writer.tokenizer)
        drawn = [asked.sampling(self._config.max_tokens, **prompt.more) for prompt in prompts]
        work = [
            (prompt.ids, sampling)
            for prompt, sampling in zip(prompts, drawn, strict=True)
            for sampling in seeded(sampling, asked.num_replies)
        ]
        jobs = Together(_started(writer, work, request), asked.num_replies)
        num_read = sum(len(prompt.ids) for prompt in prompts)
        reply = Reply(shape, asked.model, num_read, jobs, spoken, asked.include_usage)
        # Held by the request, because the event loop itself holds tasks weakly.
        request.state.watch = asyncio.create_task(cancel_when_gone(request, jobs))
        headers = asked.ignored_header
        if asked.stream:
            headers["Cache-Control"] = "no-store"
            return StreamingResponse(await reply.started(), media_type="text/event-stream", headers=headers)
        return JSONResponse(await reply.whole(), headers=headers)


async def cancel_when_gone(request: Request, jobs: Together) -> None:
    """Free the model as soon as nobody waits for this reply. Also returns when the reply has been sent."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    jobs.cancel()


def refuse_many(count: int, most: int, param: str) -> None:
    if count > most:
        raise ApiError(400, f"{param}: {count} of at most {most}.", param=param)


def refuse_unknown_biases(asked: WritingRequest, tokenizer: Tokenizer) -> None:
    unknown = [token for token in asked.logit_bias or () if int(token) >= tokenizer.vocab_size]
    if unknown:
        message = f"logit_bias: the id {unknown[0]} is not in the vocabulary of {tokenizer.vocab_size} tokens."
        raise ApiError(400, message, param="logit_bias")


def _started(writer: Writer, work: Sequence[tuple[list[int], Sampling]], request: Request) -> list[Job]:
    """All of a request's jobs, or none: where one is refused, those before it end."""
    account = account_of(request)
    jobs: list[Job] = []
    try:
        for ids, sampling in work:
            jobs.append(account.start(writer.model, ids, sampling, adapter=writer.adapter))
    except BaseException:
        Together(jobs).cancel()
        raise
    return jobs


async def _words(asked: WritingRequest, writer: Writer) -> Sequence[bytes]:
    """The bytes of every token, where they are to be told; worked out once, beside the event loop."""
    if asked.wanted_logprobs is None:
        return ()
    return await writer.model.backend.encode(lambda: writer.tokenizer.token_bytes)
