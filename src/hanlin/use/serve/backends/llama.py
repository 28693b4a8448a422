"""GGUF by llama.cpp, through xllamacpp: its server in a process of its own on a loopback port, asked at `/completion`.
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md

| ours | llama.cpp's |
|---|---|
| temperature, top_k, top_p, min_p, typical_p, seed, logit_bias | the same; their order is given with each request |
| repetition_penalty | repeat_penalty over prompt and reply |
| dry_… | the same |
| json_schema, regex, grammar, choices | grammar, for the llguidance inside xllamacpp |
| top_logprobs | n_probs |
| frequency_penalty, presence_penalty, no_repeat_ngram, mirostat, script | refused: none, or another meaning |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.generate.logprobs import Logprobs
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.gguf.reader import open_gguf
from hanlin.core.model.pretrained import stop_ids_of
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.gguf_vocabulary import tokenizer_of
from hanlin.use.serve.backend import Served
from hanlin.use.serve.backends.child import Child
from hanlin.use.serve.backends.link import Link
from hanlin.use.serve.backends.llama_forms import form_of
from hanlin.use.serve.backends.options import LlamaOptions
from hanlin.use.serve.backends.remote import Remote, Said, refuse
from hanlin.use.serve.backends.unseen import Spelling

MORE = "docs/scale.md"
LONGEST = 8192
"""Tokens of context where none are asked for. A model's own may be 131,072; their memory is taken at the start."""
REFUSED = {
    "frequency_penalty": "repetition_penalty (llama.cpp would also count the prompt's tokens)",
    "presence_penalty": "repetition_penalty (llama.cpp would also count the prompt's tokens)",
    "no_repeat_ngram": "dry_multiplier",
    "mirostat": "min_p",
    "script": "wording=zh-TW",
}
UNKNOWN = Logprobs(-9999.0, ())
"""For a token whose log-probability llama.cpp keeps to itself, in OpenAI's own way of saying so."""


def open_llama(path: Path, name: str, options: LlamaOptions) -> Served:
    """Start llama.cpp on a file. Raises HanlinError for another file, a missing extra, and what llama.cpp refuses."""
    if path.suffix != ".gguf":
        raise HanlinError(
            f"engine=llama reads GGUF files, and {path} is none.",
            "a .gguf file",
            f"hanlin export {path} … makes one, or leave engine=llama out",
            MORE,
        )
    _check_extra()
    metadata = open_gguf(path).metadata
    tokenizer = tokenizer_of(metadata)
    longest = int(metadata.get(f"{metadata.get('general.architecture')}.context_length", LONGEST))
    context = options.context or min(longest, LONGEST)
    stops = [metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
    named = [token for token in stops if token is not None]
    stop_ids = stop_ids_of(tokenizer, {"eos_token_id": named} if named else {})
    child, url = start_child(path, context, options)
    dialect = LlamaDialect(Spelling(tokenizer), context)
    max_jobs = options.slots + options.max_waiting
    remote = Remote(Link("llama.cpp", url), dialect, tokenizer, stop_ids, context, max_jobs, child)
    return Served(name, path, tokenizer, context, remote)


def start_child(path: Path, context: int, options: LlamaOptions) -> tuple[Child, str]:
    """The process and where it listens. Raises HanlinError with its last words when it does not come up."""
    wanted = json.dumps({**options.model_dump(), "path": str(path), "context": context})
    child = Child([sys.executable, "-m", "hanlin.use.serve.backends.llama_process", wanted])
    url = child.line().strip()
    if not url:
        child.wait()
        words = child.last_words()
        child.stop()
        raise HanlinError(
            f"llama.cpp can't serve {path}: {words}.",
            "a file and a context that it can load",
            "llama.context=… or llama.slots=… with a smaller number, or leave engine=llama out",
            MORE,
        )
    return child, url


class LlamaDialect:
    """context: tokens it looks back for repetitions."""

    path = "/completion"

    def __init__(self, spelling: Spelling, context: int):
        self._spelling, self._context = spelling, context

    def body(self, prompt: Sequence[int], sampling: Sampling) -> dict[str, Any]:
        refuse(sampling, REFUSED, "llama.cpp")
        s, form = sampling, form_of(sampling)
        greedy = {"samplers": ["penalties", "dry", "top_k"], "top_k": 1}
        drawn = {
            "samplers": ["penalties", "dry", "temperature", "top_k", "top_p", "min_p", "typ_p"],
            "temperature": s.temperature,
            "top_k": s.top_k,
            "top_p": s.top_p,
            "min_p": s.min_p,
            "typical_p": s.typical_p,
        }
        return {
            "prompt": list(prompt),
            "n_predict": s.max_tokens,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "repeat_penalty": s.repetition_penalty,
            "repeat_last_n": self._context,
            "dry_multiplier": s.dry_multiplier,
            "dry_base": s.dry_base,
            "dry_allowed_length": s.dry_allowed,
            "dry_penalty_last_n": self._context,
            "dry_sequence_breakers": list(s.dry_breakers),
            **(greedy if s.is_greedy else drawn),
            **({} if s.seed is None else {"seed": s.seed % (2**32 - 1)}),
            **({"logit_bias": [[token, bias] for token, bias in s.logit_bias.items()]} if s.logit_bias else {}),
            **({"n_probs": max(1, s.top_logprobs)} if s.top_logprobs is not None else {}),
            **({"grammar": form} if form else {}),
        }

    def said(self, event: Mapping[str, Any], num_tokens: int) -> Said:
        if progress := event.get("prompt_progress"):
            return Said(num_shared=int(progress["cache"]))
        if event.get("stop"):
            num_unheard = int(event["tokens_predicted"]) - num_tokens  # of a character that never became whole
            return Said(finish="length" if event.get("stop_type") == "limit" else "stop", num_unheard=num_unheard)
        if not event.get("tokens"):
            return Said()
        # Until a character is whole llama.cpp says nothing; then it names the last of its tokens only.
        last, num_new = int(event["tokens"][-1]), int(event["tokens_predicted"]) - num_tokens
        ids = [last] if num_new <= 1 else self._spelling.ids_of(event["content"], last, num_new)
        probabilities = event.get("completion_probabilities")
        logprobs: list[Logprobs | None] = [UNKNOWN if probabilities else None] * len(ids)
        if probabilities and ids[-1] == last:
            logprobs[-1] = _logprobs(probabilities[-1])
        return Said([*zip(ids, logprobs)], num_unheard=num_new - len(ids))


def _logprobs(told: Mapping[str, Any]) -> Logprobs:
    likeliest = tuple((int(other["id"]), float(other["logprob"])) for other in told["top_logprobs"])
    return Logprobs(float(told["logprob"]), likeliest)


def _check_extra() -> None:
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        raise HanlinError(
            "engine=llama needs xllamacpp, which is not installed.",
            "the extra named llama",
            'pip install "hanlin[serve,llama]"',
            MORE,
        ) from None
