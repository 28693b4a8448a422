"""One reply as a stream: prompt ids in, pieces of text out, one cached step a token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from hanlin.core.generate.sampling import Sampling, next_token
from hanlin.core.model.cache import Cache
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import Message, render
from hanlin.core.text.tokenizer import StreamDecoder


@dataclass(frozen=True)
class Piece:
    """text: newly readable characters (may be empty). finish: "" while going on, then "stop" or "length"."""

    text: str
    num_tokens: int
    finish: str = ""


def generate_ids(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
    """New ids until the stop token (given out last), `max_tokens` or the end of the context.

    Raises HanlinError when the prompt leaves no room for a reply or the model's logits are not numbers.
    """
    kind = getattr(loaded.family, "KIND", "decoder")
    if kind != "decoder":
        raise HanlinError(
            f"{loaded.path} is an {kind}: it doesn't continue text.",
            "a decoder",
            "hanlin show model …  says what a folder holds",
            "docs/families.md",
        )
    room = loaded.context - len(prompt)
    if not prompt or room < 1:
        raise HanlinError(
            f"The prompt has {len(prompt)} tokens.",
            f"1 to {loaded.context - 1} tokens for this model",
            "shorten the prompt",
            "docs/chat.md",
        )
    budget = min(sampling.max_tokens, room)
    random = torch.Generator().manual_seed(sampling.seed) if sampling.seed is not None else None
    seen = list(prompt)
    new = seen
    cache = loaded.model.new_cache(1, len(prompt) + budget)
    for _ in range(budget):
        token = next_token(_last_logits(loaded, new, cache), torch.tensor(seen), sampling, random)
        yield token
        if token in loaded.stop_ids:
            return
        seen.append(token)
        new = [token]


@torch.inference_mode()
def _last_logits(loaded: Pretrained, new: list[int], cache: Cache) -> torch.Tensor:
    """Read `new` ids; logits (V) after the last. Entered anew for each token: over a yield, the caller would be in
    it."""
    state_11C = loaded.model.hidden(torch.tensor([new]), cache)[:, -1:]
    logits_V = loaded.model.head(state_11C)[0, 0]
    if not torch.isfinite(logits_V).all():
        raise HanlinError(
            "The model's logits are not finite numbers.",
            "a model whose training did not diverge",
            "hanlin evaluate model=…  shows its state",
            "docs/models.md",
        )
    return logits_V


def stream(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
    """The reply to prompt ids as text. Text that may be the start of a stop string is held back until it is known."""
    decoder = StreamDecoder(loaded.tokenizer)
    held, count = "", 0
    for token in generate_ids(loaded, prompt, sampling):
        count += 1
        if token in loaded.stop_ids:
            held += decoder.finish()
            cut = _find_stop(held, sampling.stop)
            yield Piece(held[:cut], count, "stop")
            return
        held += decoder.push(token)
        cut = _find_stop(held, sampling.stop)
        if cut is not None:
            yield Piece(held[:cut], count, "stop")
            return
        safe = len(held) - _possible_start(held, sampling.stop)
        yield Piece(held[:safe], count)
        held = held[safe:]
    held += decoder.finish()
    cut = _find_stop(held, sampling.stop)
    yield Piece(held[:cut], count, "length" if cut is None else "stop")


def chat_prompt(loaded: Pretrained, messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation, ready for the model's reply."""
    return render(messages, loaded.tokenizer, add_generation_prompt=True).ids


def text_prompt(loaded: Pretrained, text: str) -> list[int]:
    """Ids of plain text as a document's beginning, as in pretraining: BOS once where the model expects it, else what
    stands before a document."""
    return [loaded.tokenizer.document_id, *loaded.tokenizer.encode(text)]


def _find_stop(text: str, stops: Sequence[str]) -> int | None:
    places = [text.find(stop) for stop in stops if stop and stop in text]
    return min(places) if places else None


def _possible_start(text: str, stops: Sequence[str]) -> int:
    """Length of the longest ending of `text` that begins a stop string."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
