"""What a model says to the prompts of a corpus: what its draft learns from. Kept on disk as it is written, so that an
interrupted run writes nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.events import Emit, EventLog, read_events
from hanlin.core.run.ranks import is_first
from hanlin.core.text.chat import render
from hanlin.core.text.documents import Row
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.conversations import Example


@dataclass(frozen=True)
class Prompt:
    """name: of the row it is from."""

    name: str
    ids: list[int]


def prompts_of(rows: Iterable[Row], tokenizer: Tokenizer, prompt_tokens: int, longest: int) -> Iterator[Prompt]:
    """Where each reply of a conversation begins; of a document, or where there is no chat template, its first tokens.
    Those longer than `longest` are left out."""
    for row in rows:
        if row.messages and tokenizer.chat_template:
            found = _turns(row, tokenizer)
        else:
            found = [[tokenizer.document_id, *tokenizer.encode(row.content)[:prompt_tokens]]]
        yield from (Prompt(row.id, ids) for ids in found if len(ids) <= longest)


def _turns(row: Row, tokenizer: Tokenizer) -> list[list[int]]:
    """A conversation that waits for its reply is a prompt as well."""
    roles = [message["role"] for message in row.messages]
    ends = [place for place, role in enumerate(roles) if role == "assistant" and place]
    ends += [len(roles)] if roles[-1] == "user" else []
    return [render(row.messages[:end], tokenizer, True, tools=row.tools).ids for end in ends]


def write_replies(
    loaded: Pretrained, prompts: Sequence[Prompt], sampling: Sampling, context: int, seed: int, file: Path, emit: Emit
) -> list[Example]:
    """Prompt and reply of each, the reply trained; together at most `context` tokens. The first process writes them to
    `file`, the others wait."""
    if is_first():
        requests = [
            sampling.model_copy(
                update={"seed": seed + number, "max_tokens": min(sampling.max_tokens, context - len(prompt.ids))}
            )
            for number, prompt in enumerate(prompts)
        ]
        _write(loaded, prompts, requests, file, emit)
    while len(replies := _read(file)) < len(prompts):
        time.sleep(0.5)
    return [
        Example(prompt.name, prompt.ids + reply, [False] * len(prompt.ids) + [True] * len(reply))
        for prompt, reply in zip(prompts, (replies[number] for number in range(len(prompts))))
    ]


def _write(loaded: Pretrained, prompts: Sequence[Prompt], requests: Sequence[Sampling], file: Path, emit: Emit) -> None:
    """Those that `file` doesn't hold yet. Each has random numbers of its own, whoever is written beside it."""
    done = _read(file)
    engine, log = Engine(loaded, EngineOptions(max_waiting=len(prompts))), EventLog(file)
    tickets = {
        number: engine.submit(prompt.ids, request)
        for number, (prompt, request) in enumerate(zip(prompts, requests))
        if number not in done
    }
    try:
        while tickets:
            engine.step()
            ended = [number for number, ticket in tickets.items() if ticket.done]
            for number in ended:
                ticket = tickets.pop(number)
                if ticket.error is not None:
                    raise ticket.error
                log("reply", number=number, ids=[piece.token for piece in ticket.pieces])
            if ended:
                emit("progress", what="replies", done=len(prompts) - len(tickets), total=len(prompts))
    finally:
        log.close()
        engine.close()


def _read(file: Path) -> dict[int, list[int]]:
    return {event["number"]: event["ids"] for event in read_events(file, "reply")}
