"""POST /v1/embeddings: texts as vectors."""

from __future__ import annotations

import base64

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from hanlin.use.serve.backend import ServedEncoder
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.models import Models
from hanlin.use.serve.prompts import refuse_unknown_ids
from hanlin.use.serve.schema.texts import EmbeddingRequest, Text
from hanlin.use.serve.watch.account import account_of


async def embed(asked: EmbeddingRequest, request: Request, models: Models) -> Response:
    """Vectors of length 1, in the order of the texts. Raises ApiError 400 for a text too long for the model."""
    model = models.encoder(asked.model)
    ids = await model.embedder.encode(lambda: [_ids(text, model) for text in asked.inputs])
    for number, text in enumerate(ids):
        if len(text) > model.context:
            message = f"Text {number + 1} has {len(text)} tokens; this model reads at most {model.context}."
            raise ApiError(400, message, param="input", code="context_length_exceeded")
    num_tokens = sum(len(text) for text in ids)
    account_of(request).read(model, num_tokens)
    vectors_NC = await model.embedder.embed(ids)
    spelled = _base64 if asked.encoding_format == "base64" else _numbers
    data = [
        {"object": "embedding", "index": index, "embedding": spelled(vector_C)}
        for index, vector_C in enumerate(vectors_NC)
    ]
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    body = {"object": "list", "data": data, "model": asked.model, "usage": usage}
    return JSONResponse(body, headers=asked.ignored_header)


def _ids(text: Text, model: ServedEncoder) -> list[int]:
    if isinstance(text, str):
        return model.tokenizer.encode_framed([text])[0]
    refuse_unknown_ids(text, model.tokenizer, "input")
    return text


def _numbers(vector_C: np.ndarray) -> list[float]:
    return vector_C.tolist()


def _base64(vector_C: np.ndarray) -> str:
    return base64.b64encode(vector_C.astype("<f4").tobytes()).decode()
