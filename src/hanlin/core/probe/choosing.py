"""From a model's logits to its next token, one step after the other: what each leaves of the distribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from hanlin.core.generate.requests import constraint
from hanlin.core.generate.sampling import Sampler, Sampling, breakers_of
from hanlin.core.model.pretrained import Pretrained

NEUTRAL = Sampling(temperature=1, top_p=1, repetition_penalty=1)
"""Draws from the model's own distribution."""

STEPS: tuple[tuple[str, ...], ...] = (
    ("repetition_penalty",),
    ("no_repeat_ngram",),
    ("dry_multiplier", "dry_base", "dry_allowed", "dry_breakers"),
    ("json_schema", "regex", "grammar", "choices", "script"),
    ("temperature",),
    ("top_k",),
    ("top_p",),
    ("min_p",),
    ("typical_p",),
    ("mirostat", "mirostat_tau", "mirostat_eta"),
)
"""Options that belong together, in the order in which `Sampler` does them. Penalties on the reply alone are left out:
there is no reply yet."""

FORM = STEPS[3]
SWITCHES = {name for options in STEPS for name in (options if options is FORM else options[:1])}
"""What turns a step on; the rest of its options say how."""
LEFT_TO_MIROSTAT = ("top_k", "top_p", "min_p", "typical_p")


@dataclass(frozen=True)
class Step:
    """name: of the step, "" for the model itself. probabilities (V,) float32 after it."""

    name: str
    probabilities_V: torch.Tensor

    @property
    def num_left(self) -> int:
        """Tokens that may still come."""
        return int((self.probabilities_V > 0).sum())

    @property
    def bits(self) -> float:
        """The entropy: how open the choice still is."""
        p_N = self.probabilities_V[self.probabilities_V > 0].double()
        return max(0.0, -float((p_N * p_N.log2()).sum()))


@dataclass(frozen=True)
class Choice:
    """The steps that change something for these options, and the token that is drawn."""

    steps: list[Step]
    token: int


@torch.inference_mode()
def choose(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling) -> Choice:
    """The first token of a reply. Raises HanlinError where nothing may come."""
    state_1C = loaded.model.hidden(torch.tensor([list(prompt)], device=loaded.model.embed_tokens.weight.device))[:, -1]
    logits_V = loaded.model.head(state_1C)[0]
    form = constraint(sampling, loaded)
    allowed_V = None if form is None else form.allowed()
    breakers = breakers_of(sampling, loaded.tokenizer)
    steps = []
    for name, so_far in stages(sampling):
        mask = allowed_V if any(getattr(so_far, option) for option in FORM) else None
        steps.append(Step(name, Sampler(so_far, prompt, breakers).distribution(logits_V, mask)))
    return Choice(steps, Sampler(sampling, prompt, breakers).draw(logits_V, allowed_V))


def stages(sampling: Sampling) -> Iterator[tuple[str, Sampling]]:
    """("", everything off), then one step more each time, of those that `sampling` switches on."""
    so_far = NEUTRAL
    yield "", so_far
    for options in STEPS:
        if so_far.is_greedy or (sampling.mirostat and options[0] in LEFT_TO_MIROSTAT):
            continue
        values = {name: getattr(sampling, name) for name in options}
        so_far = so_far.model_copy(update=values)
        switches = [name for name in options if name in SWITCHES and values[name] != getattr(NEUTRAL, name)]
        if switches:
            yield switches[0], so_far
