"""`hanlin check export`: an exported model in llama.cpp and in transformers, beside ours: ids, and greedy tokens.

A GGUF file is opened by llama.cpp itself, and by transformers through a folder written from it; a folder the other way
round. Each of them is asked the same prompts.
"""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hanlin.core.probe.samples import PROMPTS, SENTENCES
from hanlin.core.run.errors import HanlinError

REPLY_TOKENS = 64
NUM_PROMPTS = 6
CLEAR = 0.01
"""Where the two best logits come closer than this share of their spread, programs that round differently may go apart:
tokens are compared up to there."""
LINES = (
    *SENTENCES,
    "def f(x): return x + 1  # 加一",
    "🧋😀👩‍👩‍👧",
    "ＡＢＣ　１２３，ﾊﾝｶｸ",
    "𠮷野家 龘䶵",
    "  two  spaces\n\ttab",
)
MORE = "docs/models.md#taking-a-model-elsewhere"
Complete = Callable[[list[int], int], list[int]]


def check_export(path: Path, show: Callable[[str], None]) -> None:
    """Print what both peers say. Raises HanlinError when ids or clear greedy tokens differ, or no peer is installed."""
    import torch

    from hanlin.core.model.opening import open_model

    ours = open_model(path, torch.float32)
    prompts = [ours.tokenizer.encode(prompt) for prompt in PROMPTS[:NUM_PROMPTS]]
    replies = [reply[: _sure_tokens(ours, prompt, reply)] for prompt in prompts for reply in [_reply(ours, prompt)]]
    num_tokens = sum(map(len, replies))
    show(f"{path}: {ours.model.num_parameters():,} parameters, {ours.tokenizer.vocab_size:,} tokens")
    show(f"{'':28}{f'ids of {len(LINES)} lines':>20}{f'{num_tokens} greedy tokens of {NUM_PROMPTS} prompts':>36}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, peer in (("llama.cpp", _in_llama_cpp), ("transformers", _in_transformers)):
            with suppress(ImportError):
                ids, completions = peer(path, ours, Path(folder), prompts)
                found.append(name)
                _compare(name, ours, ids, completions, replies, show)
    if not found:
        raise HanlinError(
            "Neither llama.cpp (xllamacpp) nor transformers is installed.",
            "a program to compare with",
            "pip install xllamacpp transformers",
            MORE,
        )
    show(f"Equal in {' and '.join(found)}.")


def _compare(
    name: str,
    ours: Any,
    ids: Sequence[list[int]],
    completions: Sequence[list[int]],
    replies: Sequence[list[int]],
    show: Callable[[str], None],
) -> None:
    same_ids = [theirs == ours.tokenizer.encode(line) for line, theirs in zip(LINES, ids)]
    same = [theirs[: len(reply)] == reply for theirs, reply in zip(completions, replies)]
    num_same = sum(len(reply) for reply, is_same in zip(replies, same) if is_same)
    show(f"{name:28}{f'{sum(same_ids)} equal':>20}{f'{num_same} equal':>36}")
    if not all(same_ids):
        line = LINES[same_ids.index(False)]
        raise HanlinError(f"{name} reads {line!r} as other ids.", "the same ids", "report it with the tokenizer", MORE)
    if not all(same):
        prompt = PROMPTS[same.index(False)]
        raise HanlinError(
            f"{name} continues {prompt!r} otherwise.",
            "the same greedy tokens (a coarse format may differ: llama.cpp rounds activations to 8 bits for it)",
            "check an export with --dtype f16 or f32",
            MORE,
        )


def _reply(ours: Any, prompt: list[int]) -> list[int]:
    from hanlin.core.generate.sampling import GREEDY
    from hanlin.core.generate.stream import generate_ids

    tokens = list(generate_ids(ours, prompt, GREEDY.model_copy(update={"max_tokens": REPLY_TOKENS})))
    return tokens[:-1] if tokens and tokens[-1] in ours.stop_ids else tokens


def _sure_tokens(ours: Any, prompt: list[int], reply: list[int]) -> int:
    """How many leading tokens of the reply won clearly."""
    import torch

    with torch.inference_mode():
        logits_TV = ours.model(torch.tensor([prompt + reply]))[0, len(prompt) - 1 :][: len(reply)]
    best = logits_TV.topk(2).values
    tossed = ((best[:, 0] - best[:, 1]) <= CLEAR * logits_TV.std()).nonzero()
    return int(tossed[0]) if len(tossed) else len(reply)


def _in_llama_cpp(path: Path, ours: Any, folder: Path, prompts: Sequence[list[int]]) -> tuple[list, list]:
    import xllamacpp

    from hanlin.core.model.ggml import F32
    from hanlin.core.model.gguf.writing import export_gguf

    if path.suffix != ".gguf" and not path.is_file():
        path = folder / "model.gguf"
        export_gguf(path, ours, F32)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_gpu_layers = min(ours.context, 1024), 0
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)

    def post(place: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            server.listening_address + place, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    ids = [
        post("/tokenize", {"content": line, "add_special": False, "parse_special": False})["tokens"] for line in LINES
    ]
    asked = {"n_predict": REPLY_TOKENS, "samplers": ["top_k"], "top_k": 1, "return_tokens": True, "cache_prompt": False}
    completions = [
        _without_stop(ours, post("/completion", {**asked, "prompt": prompt})["tokens"]) for prompt in prompts
    ]
    return ids, completions


def _in_transformers(path: Path, ours: Any, folder: Path, prompts: Sequence[list[int]]) -> tuple[list, list]:
    import torch

    from hanlin.checks.model import quiet_transformers

    transformers = quiet_transformers()
    if path.is_file():
        from hanlin.core.model.pretrained import save_model

        path = folder / "hf"
        path.mkdir()
        save_model(path, ours.model, ours.family)
        ours.tokenizer.save(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    ids = [tokenizer(line, add_special_tokens=False)["input_ids"] for line in LINES]
    stops = sorted(ours.stop_ids)
    completions = []
    for prompt in prompts:
        reply = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=REPLY_TOKENS,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=stops[0],
        )
        completions.append(_without_stop(ours, reply[0, len(prompt) :].tolist()))
    return ids, completions


def _without_stop(ours: Any, tokens: list[int]) -> list[int]:
    return tokens[:-1] if tokens and tokens[-1] in ours.stop_ids else tokens
