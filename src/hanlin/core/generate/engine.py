"""The engine: many texts written at once, each as if it were alone. Orca's iteration-level batching (Yu et al. 2022,
https://www.usenix.org/conference/osdi22/presentation/yu) over paged blocks (Kwon et al. 2023), prompts read in chunks
between the others' tokens (Agrawal et al. 2023, https://arxiv.org/abs/2308.16369).

A step admits who has a place, reads at most `chunk_tokens` of prompts, and writes the next token of every text whose
prompt has been read. It belongs to one thread; what another thread may do is in use/serve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic

import torch

from hanlin.core.generate.adapters import beside, unknown_adapter
from hanlin.core.generate.capacity import refuse_unfit
from hanlin.core.generate.forming import Forming
from hanlin.core.generate.line import Line
from hanlin.core.generate.logprobs import logprobs_of
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.passes import Passes
from hanlin.core.generate.reply import Piece, Reply
from hanlin.core.generate.requests import first_ids, has_form, longest, refuse_too_long, wording
from hanlin.core.generate.sampling import Sampler, Sampling, breakers_of
from hanlin.core.generate.speculate import Draft, Speculator, speculator_of
from hanlin.core.generate.speculate.accept import next_token
from hanlin.core.generate.text import Text, Ticket
from hanlin.core.model.adapters.switched import BASE
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError

Masks = dict[Text, "Future[torch.Tensor | None]"]


class Engine:
    """Texts of one model, each as it is or with one of its adapters. adapters: their names and PEFT folders.

    Raises HanlinError for a model that doesn't write text, and for an adapter that is not this model's.
    """

    def __init__(
        self,
        loaded: Pretrained,
        options: EngineOptions | None = None,
        adapters: Mapping[str, Path | str] | None = None,
    ):
        refuse_unfit(loaded)
        self.options = options or EngineOptions()
        known, assigned = beside(loaded, adapters or {})
        self.loaded = prepared(known[BASE], self.options.weights)
        self.known = {name: replace(one, model=self.loaded.model) for name, one in known.items()}
        """By the names of the adapters, BASE for none: tokenizer and stop tokens of each."""
        self.passes = Passes(self.loaded, self.options, assigned)
        self.model, self.blocks, self.memory = self.passes.model, self.passes.blocks, self.passes.memory
        self.line: Line[Ticket] = Line()
        self.forming = Forming(self.known)
        self.reading: deque[Text] = deque()
        self.writing: list[Text] = []
        self.speculator: Speculator | None = speculator_of(self.loaded, self.options, self.passes)
        self._masks = ThreadPoolExecutor(1, thread_name_prefix="hanlin-masks")

    def submit(self, prompt: Sequence[int], sampling: Sampling, client: str = "", adapter: str = BASE) -> Ticket:
        """Put a request in line. client: who asks; clients take turns. adapter: its name, BASE for none.

        Raises HanlinError for a prompt that leaves no room for a reply, for one that the cache could never hold, for an
        adapter that is not known, and when too many wait.
        """
        if adapter not in self.known:
            raise unknown_adapter(adapter, self.known)
        ticket = Ticket(list(prompt), sampling, client, adapter)
        refuse_too_long(self.loaded, self.passes, ticket)
        num_waiting = len(self.line) + len(self.forming)
        if num_waiting >= self.options.max_waiting + self._num_places:
            raise HanlinError(
                f"{num_waiting} requests wait already.",
                f"at most {self.options.max_waiting}",
                "try again soon, or engine.max_waiting=… with a larger number",
                "docs/generate.md",
            )
        if has_form(sampling):
            self.forming.add(ticket)
        else:
            self.line.add(ticket, client)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request; what it held is free at once."""
        if ticket.done:
            return
        ticket.end()
        if self.line.remove(ticket) or self.forming.remove(ticket):
            return
        for text in [*self.reading, *self.writing]:
            if text.ticket is ticket:
                self._drop(text)

    def close(self) -> None:
        """Forget all requests and let go of the thread."""
        for ticket in [*self.line, *(text.ticket for text in (*self.reading, *self.writing))]:
            self.cancel(ticket)
        self.forming.close()
        self._masks.shutdown()

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(len(self.line) or len(self.forming) or self.reading or self.writing)

    @torch.inference_mode()
    def step(self) -> None:
        """Read and write a little for everybody; the tickets hold what came of it."""
        for ticket in self.forming.take_ready():
            self.line.add(ticket, ticket.client)
        self._admit()
        self._read_prompts()
        self._write()
        if len(self.forming) and not (len(self.line) or self.reading or self.writing):
            self.forming.wait()

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, client: str = "", adapter: str = BASE
    ) -> Iterator[Piece]:
        """One reply, others being written beside it. Raises what its request alone met."""
        ticket = self.submit(prompt, sampling, client, adapter)
        try:
            yield from self.pieces(ticket)
        finally:
            self.cancel(ticket)

    def pieces(self, ticket: Ticket, step: Callable[[], None] | None = None) -> Iterator[Piece]:
        """Of a request that was put in line. step: called instead of the engine's own, which it has to call."""
        step = step or self.step
        while True:
            while ticket.pieces:
                yield ticket.pieces.popleft()
            if ticket.error is not None:
                raise ticket.error
            if ticket.done:
                return
            step()

    @property
    def _num_places(self) -> int:
        """Texts that could begin at the next step."""
        return max(0, self.options.max_streams - len(self.reading) - len(self.writing))

    def _admit(self) -> None:
        """Begin with those in line while there is a place and, at its longest, room for each: nobody who has begun
        ever has to wait for room."""
        while len(self.line) and self._num_places:
            ticket = self.line.peek()
            found = self.passes.found(ticket.prompt, ticket.adapter)
            reserved = self.passes.needed(longest(self.loaded, self.passes, ticket))
            promised = sum(text.reserved - len(text.blocks) for text in (*self.reading, *self.writing))
            if reserved - len(found) > self.blocks.num_available - promised:
                self.blocks.release(found)
                return
            self.line.pop()
            try:
                self.reading.append(self._begin(ticket, found, reserved))
            except Exception as error:  # its request's own trouble
                self.blocks.release(found)
                ticket.end(error)

    def _begin(self, ticket: Ticket, found: list[int], reserved: int) -> Text:
        loaded, sampling = self.known[ticket.adapter], ticket.sampling
        ticket.times.begun = monotonic()
        ids = first_ids(loaded, self.passes, ticket)
        most = longest(loaded, self.passes, ticket) - len(ids)
        text = Text(
            ticket,
            ids,
            Sampler(sampling, ids, breakers_of(sampling, loaded.tokenizer)),
            Reply(loaded.tokenizer, loaded.stop_ids, sampling.stop, most, wording(sampling)),
            ticket.constraint,
            reserved,
        )
        self.passes.begin(text, found)
        ticket.num_shared = text.length
        return text

    def _read_prompts(self) -> None:
        """Chunks of prompts in turn, so that a short one is not kept behind a long one."""
        budget = self.options.chunk_tokens
        while budget > 0 and self.reading:
            text = self.reading.popleft()
            chunk = text.ids[text.length : self.passes.chunk_end(text, budget)]
            budget -= len(chunk)
            if text.length + len(chunk) < len(text.ids):
                self.reading.append(text)
                self._advance([text], [chunk])
            else:
                self.writing.append(text)
                self._next([text], [chunk])

    def _write(self) -> None:
        """The next tokens of all that are being written; those for which as many were guessed go together."""
        drafts = self.speculator.propose(self.writing) if self.speculator and self.writing else {}
        writing = sorted(self.writing, key=lambda text: text.ticket.adapter)  # an adapter's texts are neighbours
        for guessed in sorted({len(drafts[text].tokens) if text in drafts else 0 for text in writing}):
            texts = [t for t in writing if (len(drafts[t].tokens) if t in drafts else 0) == guessed]
            if guessed:
                self._verify(texts, drafts)
            else:
                self._next(texts, [text.unread for text in texts])

    def _next(self, texts: Sequence[Text], new: Sequence[Sequence[int]]) -> None:
        """Read what is new and draw each text's next token."""
        masks = self._ask_masks(texts)
        hidden_BTC = self._advance(texts, new)
        if hidden_BTC is not None:
            self._choose(texts, hidden_BTC[:, -1], masks)

    def _advance(self, texts: Sequence[Text], new: Sequence[Sequence[int]]) -> torch.Tensor | None:
        """A pass that may fail: then these texts end with the reason, None comes back, and the others go on."""
        try:
            return self.passes.read(texts, new)
        except Exception as error:
            for text in texts:
                self._fail(text, error)
            return None

    def _ask_masks(self, texts: Sequence[Text]) -> Masks:
        """What constraints allow, worked out beside the forward pass."""
        return {t: self._masks.submit(t.constraint.allowed) for t in texts if t.constraint is not None}

    def _choose(self, texts: Sequence[Text], states_BC: torch.Tensor, masks: Masks) -> None:
        """Draw each text's next token from its own state. What goes wrong ends that text alone."""
        logits_BV = self.passes.head(texts, states_BC)
        # The largest is no number where any is none, and +∞ where any is; looking at it alone is quicker.
        finite_B = torch.isfinite(logits_BV.amax(-1)).tolist()
        for text, logits_V, finite in zip(texts, logits_BV, finite_B):
            try:
                if not finite:
                    raise not_numbers()
                allowed = masks[text].result() if text in masks else None
                self._give(text, text.sampler.draw(logits_V, allowed), logits_V)
            except Exception as error:
                self._fail(text, error)

    def _verify(self, texts: Sequence[Text], drafts: Mapping[Text, Draft]) -> None:
        """Read the guesses, keep those the model would have written, and the token it writes behind them."""
        before = [(text.length, text.states) for text in texts]
        hidden_BTC = self._advance(texts, [[*text.unread, *drafts[text].tokens] for text in texts])
        if hidden_BTC is None:
            return
        logits_BTV = self.passes.head(texts, hidden_BTC)
        for text, logits_TV, (length, states) in zip(texts, logits_BTV, before):
            try:
                self._accept(text, logits_TV, drafts[text])
            except Exception as error:
                self._fail(text, error)
            if not text.ticket.done:
                self.passes.take_back(text, length, states)

    def _accept(self, text: Text, logits_TV: torch.Tensor, draft: Draft) -> None:
        finite_T = torch.isfinite(logits_TV.amax(-1)).tolist()
        text.ticket.num_drafted += len(draft.tokens)
        for place, logits_V in enumerate(logits_TV):
            if not finite_T[place]:  # behind a wrong guess it would not matter
                raise not_numbers()
            allowed = text.constraint.allowed() if text.constraint is not None else None
            guess = draft.tokens[place] if place < len(draft.tokens) else None
            token = next_token(text.sampler, logits_V, allowed, guess, draft.shares_kV, place)
            self._give(text, token, logits_V)
            text.ticket.num_accepted += token == guess
            if token != guess or text.ticket.done:
                return

    def _give(self, text: Text, token: int, logits_V: torch.Tensor) -> None:
        text.sampler.saw(token)
        if text.constraint is not None:
            text.constraint.accept(token)
        text.ids.append(token)
        count = text.ticket.sampling.top_logprobs
        piece = text.reply.push(token, None if count is None else logprobs_of(logits_V, token, count))
        text.ticket.pieces.append(piece)
        text.ticket.times.first = text.ticket.times.first or monotonic()
        if piece.finish:
            text.ticket.end()
            self._drop(text)

    def _fail(self, text: Text, error: Exception) -> None:
        text.ticket.end(error)
        self._drop(text)

    def _drop(self, text: Text) -> None:
        """Free what a text holds."""
        (self.reading if text in self.reading else self.writing).remove(text)
        self.passes.end(text)
        if self.speculator is not None:
            self.speculator.drop(text)


def prepared(loaded: Pretrained, weights: str) -> Pretrained:
    """The model with its matrices in the format asked for."""
    if weights == "keep":
        return loaded
    from hanlin.core.generate.kernels import with_weights

    return with_weights(loaded, weights)


def not_numbers() -> HanlinError:
    return HanlinError(
        "The model's logits are not finite numbers.",
        "a model whose training did not diverge",
        "hanlin evaluate model=…  shows its state",
        "docs/models.md",
    )
