"""vLLM, asked at `/v1/completions` with prompt ids: a server that runs already, or a child.
https://docs.vllm.ai/en/stable/serving/openai_compatible_server/

| ours | vLLM's |
|---|---|
| temperature, top_k, top_p, min_p, seed, logit_bias | the same |
| repetition_penalty, frequency_penalty, presence_penalty | the same |
| json_schema, regex, choices, grammar | structured_outputs: json, regex, choice, grammar |
| top_logprobs | logprobs, tokens named by their ids |
| typical_p, dry_…, no_repeat_ngram, mirostat, script | refused: it has none |
"""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.generate.logprobs import Logprobs
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.pretrained import read_generation, stop_ids_of
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.use.serve.backend import Served
from hanlin.use.serve.backends.child import Child
from hanlin.use.serve.backends.link import Link
from hanlin.use.serve.backends.options import VllmOptions
from hanlin.use.serve.backends.remote import Remote, Said, refuse

MORE = "docs/scale.md"
REFUSED = {
    "typical_p": "top_p",
    "dry_multiplier": "repetition_penalty",
    "no_repeat_ngram": "repetition_penalty",
    "mirostat": "min_p",
    "script": "wording=zh-TW",
}
FORMS = {"json_schema": "json", "regex": "regex", "choices": "choice", "grammar": "grammar"}
"""Sampling's forms → those of structured_outputs."""


def open_vllm(folder: Path, name: str, options: VllmOptions) -> Served:
    """A model folder, its tokenizer read here, its weights by vLLM. Raises HanlinError when that does not come up."""
    tokenizer = load_tokenizer(folder)
    child, url = (None, options.url) if options.url else start_child(folder, name, options)
    link = Link("vLLM", url, options.key)
    try:
        wait_until_healthy(link, child, options.start_seconds if child else 10.0)
        card = model_card(link, options.model)
    except BaseException:
        if child is not None:
            child.stop()
        raise
    context = int(card["max_model_len"])
    stop_ids = stop_ids_of(tokenizer, read_generation(folder))
    dialect = VllmDialect(card["id"], sorted(stop_ids))
    remote = Remote(link, dialect, tokenizer, stop_ids, context, options.max_jobs, child)
    return Served(name, folder, tokenizer, context, remote)


def start_child(folder: Path, name: str, options: VllmOptions) -> tuple[Child, str]:
    """`vllm serve` on a free loopback port. Raises HanlinError where there is no vllm."""
    program = shutil.which("vllm")
    if program is None:
        raise HanlinError(
            "engine=vllm needs vLLM, which is not installed.",
            "the extra named vllm on a machine with a GPU, or a server that runs elsewhere",
            'pip install "hanlin[serve,vllm]", or vllm.url=http://…',
            MORE,
        )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    listening = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", name]
    # Our grammars are llguidance's, which vLLM calls guidance.
    forms = ["--structured-outputs-config", json.dumps({"backend": "guidance"})]
    key = ["--api-key", options.key] if options.key else []
    child = Child([program, "serve", str(folder), *listening, *forms, *key, *shlex.split(options.args)], quiet=True)
    return child, f"http://127.0.0.1:{port}"


def wait_until_healthy(link: Link, child: Child | None, seconds: float) -> None:
    """Raises HanlinError when it ends, or does not answer in time."""
    until = time.monotonic() + seconds
    while True:
        answer = link.get("/health", timeout=5.0)
        if answer is not None and answer.status_code == 200:
            return
        ended = child is not None and child.has_ended
        if ended or time.monotonic() > until:
            assert not ended or child is not None
            reason = f"it stopped: {child.last_words()}" if child is not None and ended else f"waited {seconds:.0f} s"
            raise HanlinError(
                f"vLLM does not answer at {link.url}/health ({reason}).",
                "a vLLM server",
                "vllm.url=http://… with its address, or vllm.args=… with what it asks for",
                MORE,
            )
        time.sleep(0.2)


def model_card(link: Link, wanted: str) -> dict[str, Any]:
    """The entry of /v1/models. Raises HanlinError where the server has no such model or does not say."""
    answer = link.get("/v1/models")
    cards = answer.json().get("data", []) if answer is not None and answer.status_code == 200 else []
    found = next((card for card in cards if not wanted or card["id"] == wanted), None)
    if found is None or not found.get("max_model_len"):
        served = ", ".join(card["id"] for card in cards) or f"none (status {answer.status_code if answer else 'none'})"
        raise HanlinError(
            f"vLLM at {link.url} serves no model {wanted or 'with a length'}.",
            f"one of: {served}",
            "vllm.model=… with its name, vllm.key=… where it asks for a key",
            MORE,
        )
    return found


class VllmDialect:
    path = "/v1/completions"

    def __init__(self, model: str, stop_ids: Sequence[int]):
        self._model, self._stop_ids = model, list(stop_ids)

    def body(self, prompt: Sequence[int], sampling: Sampling) -> dict[str, Any]:
        refuse(sampling, REFUSED, "vLLM")
        s = sampling
        return {
            "model": self._model,
            "prompt": list(prompt),
            "max_tokens": s.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "stop_token_ids": self._stop_ids,
            "temperature": 0.0 if s.is_greedy else s.temperature,
            "top_k": s.top_k,
            "top_p": s.top_p,
            "min_p": s.min_p,
            "repetition_penalty": s.repetition_penalty,
            "frequency_penalty": s.frequency_penalty,
            "presence_penalty": s.presence_penalty,
            **({} if s.seed is None else {"seed": s.seed}),
            **({"logit_bias": {str(token): bias for token, bias in s.logit_bias.items()}} if s.logit_bias else {}),
            **({} if s.top_logprobs is None else {"logprobs": s.top_logprobs, "return_tokens_as_token_ids": True}),
            **structured_outputs(s),
        }

    def said(self, event: Mapping[str, Any], num_tokens: int) -> Said:
        if not event.get("choices"):
            details = (event.get("usage") or {}).get("prompt_tokens_details") or {}
            return Said(num_shared=int(details.get("cached_tokens") or 0))
        choice = event["choices"][0]
        ids = [int(token) for token in choice.get("token_ids") or ()]
        told = choice.get("logprobs")
        logprobs = _logprobs(told) if told else [None] * len(ids)
        finish = {"length": "length", None: ""}.get(choice.get("finish_reason"), "stop")
        return Said([*zip(ids, logprobs)], finish)


def structured_outputs(sampling: Sampling) -> dict[str, Any]:
    """The reply's form in vLLM's words; {} for a free reply."""
    option = next((name for name in FORMS if getattr(sampling, name)), None)
    if option is None:
        return {}
    value = getattr(sampling, option)
    value = json.loads(value) if option == "json_schema" else list(value) if option == "choices" else value
    return {"structured_outputs": {FORMS[option]: value}}


def _logprobs(told: Mapping[str, Any]) -> list[Logprobs | None]:
    """One for each token; of more likely ones first. vLLM's own lists hold the written token too, wherever it comes."""
    found: list[Logprobs | None] = []
    for own, others in zip(told["token_logprobs"], told["top_logprobs"]):
        likeliest = ((_id(key), float(value)) for key, value in (others or {}).items())
        found.append(Logprobs(float(own), tuple(sorted(likeliest, key=lambda pair: -pair[1]))))
    return found


def _id(token: str) -> int:
    """`token_id:123`, as return_tokens_as_token_ids asks for."""
    return int(token.removeprefix("token_id:"))
