"""The application: OpenAI's endpoints and the chat page over the models served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response

from hanlin.use.serve.answer import Answerer
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import explain_failures
from hanlin.use.serve.front import Front
from hanlin.use.serve.models import Models
from hanlin.use.serve.schema.chat import ChatRequest
from hanlin.use.serve.schema.replies import (
    EVENTS,
    ChatCompletion,
    Detokenized,
    EmbeddingList,
    ErrorReply,
    Health,
    ModelCard,
    ModelList,
    TextCompletion,
    Tokenized,
)
from hanlin.use.serve.schema.texts import CompletionRequest, DetokenizeRequest, EmbeddingRequest, TokenizeRequest
from hanlin.use.serve.tokens import detokenize, tokenize
from hanlin.use.serve.vectors import embed
from hanlin.use.serve.watch.account import account_of

PAGE_FOLDER = Path(__file__).with_name("page")
PAGE_FILES = ("index.html", "chat.css", "chat.js", "api.js", "fitting.js", "settings.js", "view.js")
OPEN_PATHS = frozenset(("/", "/health", *(f"/{file}" for file in PAGE_FILES)))
"""What anybody may see where a token or keys are asked for: the page without its models."""

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Nothing from elsewhere, nothing inline: even a text that became markup by mistake could not run."""


def create_app(models: Models, config: Serve) -> FastAPI:
    """An ASGI application that serves these models, which end with its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        models.close()
        front.close()

    # FastAPI's own documentation pages fetch scripts from another host, so they are off.
    refused: dict[int | str, dict[str, Any]] = {
        "default": {"model": ErrorReply, "description": "Refused or failed, and why"}
    }
    app = FastAPI(title="Hanlin", lifespan=lifespan, docs_url=None, redoc_url=None, responses=refused)
    app.state.models = models
    explain_failures(app)
    _add_api(app, models, config)
    for file in PAGE_FILES:
        path = "/" if file == "index.html" else f"/{file}"
        app.get(path, include_in_schema=False)(_sender(PAGE_FOLDER / file))
    app.state.front = front = Front(app, models, config, OPEN_PATHS)
    return app


def _add_api(app: FastAPI, models: Models, config: Serve) -> None:
    answerer = Answerer(models, config)

    @app.get("/health", response_model=Health)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models", response_model=ModelList)
    async def list_models(request: Request) -> dict[str, Any]:
        may_use = account_of(request).may_use
        return {"object": "list", "data": [card for card in models.cards(config) if may_use(card["id"])]}

    @app.get("/v1/models/{wanted:path}", response_model=ModelCard)
    async def model(wanted: str, request: Request) -> dict[str, Any]:
        account_of(request).refuse_model(wanted)
        return models.card(wanted, config)

    @app.post(
        "/v1/chat/completions", response_model=None, responses={200: {"model": ChatCompletion, "content": EVENTS}}
    )
    async def chat(asked: ChatRequest, request: Request) -> Response:
        return await answerer.chat(asked, request)

    @app.post("/v1/completions", response_model=None, responses={200: {"model": TextCompletion, "content": EVENTS}})
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        return await answerer.complete(asked, request)

    @app.post("/v1/embeddings", response_model=None, responses={200: {"model": EmbeddingList}})
    async def embeddings(asked: EmbeddingRequest, request: Request) -> Response:
        return await embed(asked, request, models)

    @app.post("/tokenize", response_model=Tokenized)
    async def ids_of_text(asked: TokenizeRequest, request: Request) -> dict[str, Any]:
        account_of(request).refuse_model(asked.model or models.served[0].name)
        return await tokenize(asked, models)

    @app.post("/detokenize", response_model=Detokenized)
    async def text_of_ids(asked: DetokenizeRequest, request: Request) -> dict[str, Any]:
        account_of(request).refuse_model(asked.model or models.served[0].name)
        return await detokenize(asked, models)


def _sender(path: Path) -> Any:
    async def send() -> FileResponse:
        return FileResponse(path, headers=PAGE_HEADERS)

    return send
