"""How well a model predicts each row, in bits per character; too surprising or too predictable ones can go.

CCNet (Wenzek et al. 2020, https://arxiv.org/abs/1911.00359) ranks pages by the perplexity of a model of good text: what
it can hardly predict is garbage or another language, what it predicts too well is a template. The model is any that
hanlin opens (`model=runs/base`). Bits per character don't depend on its tokenizer, as perplexity per token does:

    bits per character = −Σ log₂ p(token | those before) / characters

Conversations are read as plain text, message after message, without a chat template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row
from hanlin.make.collect.options.judging import Perplexity
from hanlin.make.collect.steps.step import Context, Findings, RowStep, Survey

if TYPE_CHECKING:
    from hanlin.core.model.pretrained import Pretrained

Measure = Callable[[Sequence[Row]], list[float]]


def prepare(options: Perplexity, context: Context, emit: Emit) -> None:
    """Raises HanlinError where there is no model: now, and not after hours of reading."""
    _model_of(context)


def make(options: Perplexity, context: Context) -> RowStep | Survey:
    measure = _measure(options, context)
    if options.least_percentile > 0 or options.most_percentile < 100:
        return Percentiles(options, measure)

    def judge_all(rows: list[Row]) -> Iterable[Row]:
        return [_judged(row, bits, options.least_bits, options.most_bits) for row, bits in zip(rows, measure(rows))]

    return judge_all


class Percentiles(Survey):
    """Bits in every shard; bounds over all of them."""

    def __init__(self, options: Perplexity, measure: Measure):
        self._options, self._measure = options, measure

    def look(self, rows: list[Row]) -> Findings:
        return {"bits": np.array(self._measure(rows), dtype=np.float64)}

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        """bounds: the lower and the upper one. Those of the options hold as well."""
        options = self._options
        bits = np.concatenate([look["bits"] for look in looks]) if len(looks) else np.empty(0)
        found = np.percentile(bits, [options.least_percentile, options.most_percentile]) if len(bits) else [0, np.inf]
        most = np.inf if options.most_bits is None else options.most_bits
        bounds = np.array([max(options.least_bits, found[0]), min(most, found[1])])
        for look in looks:
            yield {"bits": look["bits"], "bounds": bounds}

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        least, most = verdict["bounds"].tolist()
        for row, bits in zip(rows, verdict["bits"].tolist(), strict=True):
            yield _judged(row, bits, least, most)


def _judged(row: Row, bits: float, least: float, most: float | None) -> Row:
    reason = ""
    if bits < least:
        reason = f"easy to predict: {bits:.3f} < {least:.3f} bits per character"
    elif most is not None and bits > most:
        reason = f"hard to predict: {bits:.3f} > {most:.3f} bits per character"
    return replace(row, reason=reason, notes={**row.notes, "perplexity": bits})


def _measure(options: Perplexity, context: Context) -> Measure:
    """A function that opens the model when it is first called, and keeps it: one model a process."""
    opened: list[Pretrained] = []

    def measure(rows: Sequence[Row]) -> list[float]:
        from hanlin.core.generate.stream import text_prompt
        from hanlin.core.model.likelihood import each_likelihood

        if not opened:
            opened.append(_open(_model_of(context), options))
        loaded = opened[0]
        texts = [row.content[: options.most_characters] for row in rows]
        documents = [(text_prompt(loaded, text), len(text)) for text in texts]
        window = min(options.context or 1024, loaded.context)
        # Sums of floats depend on their order in the last digits; four of them are the same everywhere.
        return [round(found.bits_per_character, 4) for found in each_likelihood(loaded.model, documents, window)]

    return measure


def _open(model: Artifact, options: Perplexity) -> Pretrained:
    import torch

    from hanlin.core.model.opening import open_model

    loaded = open_model(model.path, getattr(torch, options.dtype))
    kind = getattr(loaded.family, "KIND", "decoder")
    if kind != "decoder":
        raise HanlinError(
            f"{model.path} is an {kind}; it doesn't predict a text token by token.",
            "a decoder, such as hanlin pretrain makes",
            "hanlin collect … model=runs/base",
            "src/hanlin/make/collect/README.md",
        )
    loaded.model.to(options.device)
    return loaded


def _model_of(context: Context) -> Artifact:
    found = context.all_inputs("model")
    if not found:
        raise HanlinError(
            "The step perplexity has no model.",
            "a model that predicts text: a run, a Hugging Face folder, a .gguf file",
            "hanlin collect … model=runs/base",
            "src/hanlin/make/collect/README.md",
        )
    return found[0]
