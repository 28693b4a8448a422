"""What a request brings with it, and when it can't be served."""

from __future__ import annotations

from hanlin.core.generate.passes import Passes
from hanlin.core.generate.reply import TextFilter
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.text import Constraint, Ticket
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import RequestError


def first_ids(loaded: Pretrained, passes: Passes, ticket: Ticket) -> list[int]:
    """What the text begins with: the prompt; an encoder-decoder's own start token, for it reads the prompt apart."""
    return [loaded.start_id] if passes.reads_sources else list(ticket.prompt)


def longest(loaded: Pretrained, passes: Passes, ticket: Ticket) -> int:
    """Tokens of prompt and reply at most."""
    begun = len(first_ids(loaded, passes, ticket))
    return min(loaded.context, begun + ticket.sampling.max_tokens)


def refuse_too_long(loaded: Pretrained, passes: Passes, ticket: Ticket) -> None:
    """Raises HanlinError for a prompt that leaves no room for a reply, or that the cache could never hold."""
    context, length = loaded.context, len(ticket.prompt)
    if not 0 < length < context:
        raise RequestError(
            f"The prompt has {length} tokens.",
            f"1 to {context - 1} tokens for this model",
            "shorten the prompt",
            "docs/generate.md",
        )
    most = longest(loaded, passes, ticket)
    if passes.needed(most) > passes.blocks.num_blocks:
        raise RequestError(
            f"Prompt and reply may come to {most} tokens; the cache holds {passes.capacity}.",
            "a request the cache can hold",
            f"max_tokens={max(1, passes.capacity - length)}, or engine.cache_tokens=… with a larger number",
            "docs/generate.md",
        )


def has_form(sampling: Sampling) -> bool:
    """Whether not everything may be written."""
    return any(getattr(sampling, name) for name in ("json_schema", "regex", "grammar", "choices", "script"))


def constraint(sampling: Sampling, loaded: Pretrained) -> Constraint | None:
    """What the reply's form allows; None where it is free."""
    if not has_form(sampling):
        return None
    from hanlin.core.generate.constrain import constraint_of

    return constraint_of(sampling, loaded)


def wording(sampling: Sampling) -> TextFilter | None:
    """What the reply's text goes through."""
    if not sampling.wording:
        return None
    from hanlin.core.generate.constrain.wording import Wording

    return Wording()
