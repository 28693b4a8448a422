"""The application: OpenAI's endpoints and the chat page over one model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response

from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.artifact import is_artifact, read_manifest
from hanlin.use.serve.answer import Answerer
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import explain_failures
from hanlin.use.serve.guard import Guard
from hanlin.use.serve.schema import ChatRequest, CompletionRequest
from hanlin.use.serve.turns import Turns

PAGE_FOLDER = Path(__file__).with_name("page")
PAGE_FILES = ("index.html", "chat.css", "chat.js", "api.js", "fitting.js", "settings.js", "view.js")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Nothing from elsewhere, nothing inline: even a text that became markup by mistake could not run."""


def create_app(loaded: Pretrained, name: str, config: Serve) -> FastAPI:
    """An ASGI application that serves `loaded` under `name`. Its threads end with its lifespan."""
    turns = Turns(loaded, config.engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        turns.close()

    # FastAPI's own documentation pages fetch scripts from another host, so they are off.
    app = FastAPI(title="Hanlin", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.turns = turns
    explain_failures(app)
    _add_api(app, Answerer(loaded, name, config, turns), model_card(loaded, name, config))
    for file in PAGE_FILES:
        path = "/" if file == "index.html" else f"/{file}"
        app.get(path, include_in_schema=False)(_sender(PAGE_FOLDER / file))
    app.add_middleware(Guard, token=config.token, max_body_bytes=config.max_body_bytes)
    return app


def model_card(loaded: Pretrained, name: str, config: Serve) -> dict[str, Any]:
    """An entry of /v1/models. The last three are ours; the page reads them."""
    return {
        "id": name,
        "object": "model",
        "created": int(loaded.path.stat().st_mtime),
        "owned_by": "hanlin",
        "context_length": loaded.context,
        "max_tokens": config.max_tokens,
        "chat": answers_chats(loaded),
    }


def answers_chats(loaded: Pretrained) -> bool:
    """False for a base model: it continues text. Every endpoint works with both; this decides how the page opens."""
    is_base = is_artifact(loaded.path) and read_manifest(loaded.path).room == "pretrain"
    return bool(loaded.tokenizer.chat_template) and not is_base


def _add_api(app: FastAPI, answerer: Answerer, card: dict[str, Any]) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{wanted:path}")
    async def model(wanted: str) -> dict[str, Any]:
        answerer.check_name(wanted)
        return card

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(asked: ChatRequest, request: Request) -> Response:
        return await answerer.chat(asked, request)

    @app.post("/v1/completions", response_model=None)
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        return await answerer.complete(asked, request)


def _sender(path: Path) -> Any:
    async def send() -> FileResponse:
        return FileResponse(path, headers=PAGE_HEADERS)

    return send
