"""One reply as a stream: prompt ids in, pieces of text out. An engine of its own, just large enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.chat import Message, render
from hanlin.core.text.tokenizer import Tokenizer


def generate_ids(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
    """New ids until the stop token (given out last), `max_tokens` or the end of the context; stop texts don't count.

    Raises HanlinError when the prompt leaves no room for a reply or the model's logits are not numbers.
    """
    return (piece.token for piece in stream(loaded, prompt, sampling.model_copy(update={"stop": ()})))


def stream(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
    """The reply to prompt ids as text. Text that may be the start of a stop text is held back until it is known."""
    longest = min(loaded.context, len(prompt) + sampling.max_tokens)
    options = EngineOptions(max_streams=1, cache_tokens=max(1, longest), share_prefixes=False)
    yield from Engine(loaded, options).stream(prompt, sampling)


def write_together(
    loaded: Pretrained, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]
) -> Iterator[tuple[int, list[Piece]]]:
    """Many replies at once, each given out with its number as soon as it is whole. Raises what the first that fails
    meets."""
    engine = Engine(loaded, EngineOptions(max_waiting=len(prompts)))
    try:
        left = {number: engine.submit(*asked) for number, asked in enumerate(zip(prompts, samplings, strict=True))}
        while left:
            engine.step()
            for number in [number for number, ticket in left.items() if ticket.done]:
                ticket = left.pop(number)
                if ticket.error is not None:
                    raise ticket.error
                yield number, list(ticket.pieces)
    finally:
        engine.close()


def chat_prompt(loaded: Pretrained, messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation, ready for the model's reply."""
    return render(messages, loaded.tokenizer, add_generation_prompt=True).ids


def text_prompt(loaded: Pretrained, text: str) -> list[int]:
    """Ids of plain text as this model reads a document's beginning."""
    return text_ids(loaded.tokenizer, text, reads_whole(loaded))


def text_ids(tokenizer: Tokenizer, text: str, whole: bool = False) -> list[int]:
    """Ids of plain text as a document's beginning, as in pretraining: BOS once where the model expects it, else what
    stands before a document. whole: for an encoder-decoder, which reads it as a whole, its end marked."""
    return tokenizer.encode_framed([text])[0] if whole else [tokenizer.document_id, *tokenizer.encode(text)]


def reads_whole(loaded: Pretrained) -> bool:
    """Whether it is an encoder-decoder."""
    return getattr(loaded.family, "KIND", "decoder") == "encoder-decoder"
