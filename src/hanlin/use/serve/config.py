"""Options of the server."""

from __future__ import annotations

from pydantic import Field

from hanlin.core.generate.options import EngineOptions
from hanlin.core.run.config import Config


class Serve(Config):
    """Where the server listens and how much it takes at once. Sampling is each request's own choice."""

    host: str = Field("127.0.0.1", description="address to listen on; anything but this machine needs a token")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    token: str = Field(
        "",
        pattern=r"^[\x21-\x7e]*$",
        description="if set, every /v1 request must carry `Authorization: Bearer <token>`; ASCII without spaces",
    )
    name: str = Field("", description="the model's name for clients; empty takes the folder's name")
    models: dict[str, str] = Field({}, description="more models, by the names clients use: models.NAME=FOLDER")
    adapters: dict[str, str] = Field(
        {}, description="adapters of the main model, each asked for as a model: adapters.NAME=FOLDER"
    )
    max_tokens: int = Field(1024, ge=1, description="the longest reply to one request, in tokens")
    max_messages: int = Field(500, ge=1, description="the longest conversation, in messages")
    max_body_bytes: int = Field(2**20, ge=1024, description="the largest request, in bytes")
    engine: EngineOptions = Field(EngineOptions(), description="memory, texts at once, number formats, speculation")
    open_page: bool = Field(False, description="open the chat page in the browser when the server is ready")
