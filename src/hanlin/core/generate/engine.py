"""The engine: many texts written at once, each as if it were alone. Orca's iteration-level batching (Yu et al. 2022,
https://www.usenix.org/conference/osdi22/presentation/yu) over paged blocks (Kwon et al. 2023), prompts read in chunks
between the others' tokens (Agrawal et al. 2023, https://arxiv.org/abs/2308.16369).

A step admits who has a place, reads at most `chunk_tokens` of prompts, and writes the next token of every text whose
prompt has been read. It belongs to one thread; what another thread may do is in use/serve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from typing import Any

import torch

from hanlin.core.generate.blocks import Blocks
from hanlin.core.generate.capacity import cache_blocks, refuse_unfit
from hanlin.core.generate.line import Line
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.paged import Batch, Memory
from hanlin.core.generate.reply import Piece, Reply, TextFilter
from hanlin.core.generate.sampling import Sampler, Sampling, breakers_of
from hanlin.core.generate.snapshots import Snapshots, States
from hanlin.core.generate.speculate import Draft, Speculator, speculator_of
from hanlin.core.generate.speculate.accept import next_token
from hanlin.core.generate.text import Constraint, Text, Ticket
from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError

Masks = dict[Text, "Future[torch.Tensor | None]"]


class Engine:
    """Texts of one model. Raises HanlinError for a model that doesn't write text."""

    def __init__(self, loaded: Pretrained, options: EngineOptions | None = None):
        refuse_unfit(loaded)
        self.options = options or EngineOptions()
        self.loaded = prepared(loaded, self.options.weights)
        self.model: Any = self.loaded.model
        self.blocks = Blocks(cache_blocks(self.model, loaded.context, self.options), self.options.block_tokens)
        self.memory = Memory(self.model, self.blocks.num_blocks, self.options.block_tokens, self.options.cache)
        self.snapshots = Snapshots()
        self.line: Line[Ticket] = Line()
        self.reading: deque[Text] = deque()
        self.writing: list[Text] = []
        self.speculator: Speculator | None = speculator_of(self.loaded, self.options, self.memory, self.blocks)
        self._masks = ThreadPoolExecutor(1, thread_name_prefix="hanlin-masks")

    def submit(self, prompt: Sequence[int], sampling: Sampling, client: str = "") -> Ticket:
        """Put a request in line. client: who asks; clients take turns.

        Raises HanlinError for a prompt that leaves no room for a reply, for one that the cache could never hold, and
        when too many wait.
        """
        ticket = Ticket(list(prompt), sampling, client)
        self._refuse(ticket)
        self.line.add(ticket, client)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request; what it held is free at once."""
        if ticket.done:
            return
        ticket.done = True
        if self.line.remove(ticket):
            return
        for text in [*self.reading, *self.writing]:
            if text.ticket is ticket:
                self._drop(text)

    def close(self) -> None:
        """Forget all requests and let go of the thread."""
        for ticket in [*self.line, *(text.ticket for text in (*self.reading, *self.writing))]:
            self.cancel(ticket)
        self._masks.shutdown()

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(len(self.line) or self.reading or self.writing)

    @torch.inference_mode()
    def step(self) -> None:
        """Read and write a little for everybody; the tickets hold what came of it."""
        self._admit()
        self._read_prompts()
        self._write()

    def stream(self, prompt: Sequence[int], sampling: Sampling, client: str = "") -> Iterator[Piece]:
        """One reply, others being written beside it. Raises what its request alone met."""
        ticket = self.submit(prompt, sampling, client)
        try:
            while True:
                while ticket.pieces:
                    yield ticket.pieces.popleft()
                if ticket.error is not None:
                    raise ticket.error
                if ticket.done:
                    return
                self.step()
        finally:
            self.cancel(ticket)

    def _refuse(self, ticket: Ticket) -> None:
        context, length = self.loaded.context, len(ticket.prompt)
        if not 0 < length < context:
            raise HanlinError(
                f"The prompt has {length} tokens.",
                f"1 to {context - 1} tokens for this model",
                "shorten the prompt",
                "docs/generate.md",
            )
        if self._needed(self._longest(ticket)) > self.blocks.num_blocks:
            raise HanlinError(
                f"Prompt and reply may come to {self._longest(ticket)} tokens; the cache holds {self.capacity}.",
                "a request the cache can hold",
                f"max_tokens={max(1, self.capacity - length)}, or engine.cache_tokens=… with a larger number",
                "docs/generate.md",
            )
        if len(self.line) >= self.options.max_waiting + self._num_places:
            raise HanlinError(
                f"{len(self.line)} requests wait already.",
                f"at most {self.options.max_waiting}",
                "try again soon, or engine.max_waiting=… with a larger number",
                "docs/generate.md",
            )

    @property
    def capacity(self) -> int:
        """Tokens the cache can hold."""
        return self.blocks.num_blocks * self.blocks.block_tokens

    @property
    def _num_places(self) -> int:
        """Texts that could begin at the next step."""
        return max(0, self.options.max_streams - len(self.reading) - len(self.writing))

    def _longest(self, ticket: Ticket) -> int:
        begun = 1 if self._reads_sources else len(ticket.prompt)
        return min(self.loaded.context, begun + ticket.sampling.max_tokens)

    @property
    def _reads_sources(self) -> bool:
        """Whether the model reads the prompt apart from what it writes."""
        return isinstance(self.model, EncoderDecoder)

    def _needed(self, num_tokens: int) -> int:
        """Blocks for so many tokens; none where a text's memory doesn't grow."""
        return 0 if self.memory.recurrent else self.blocks.needed(num_tokens)

    def _admit(self) -> None:
        """Begin with those in line while there is a place and, at its longest, room for each: nobody who has begun
        ever has to wait for room."""
        while len(self.line) and self._num_places:
            ticket = self.line.peek()
            found = self.blocks.find(ticket.prompt[:-1]) if self._shares_blocks else []
            reserved = self._needed(self._longest(ticket))
            promised = sum(text.reserved - len(text.blocks) for text in (*self.reading, *self.writing))
            if reserved - len(found) > self.blocks.num_available - promised:
                self.blocks.release(found)
                return
            self.line.pop()
            try:
                self.reading.append(self._begin(ticket, found, reserved))
            except Exception as error:  # a grammar it can't read, say: its request's own trouble
                self.blocks.release(found)
                ticket.error, ticket.done = error, True

    @property
    def _shares_blocks(self) -> bool:
        return self.options.share_prefixes and not self.memory.recurrent and not self._reads_sources

    def _begin(self, ticket: Ticket, found: list[int], reserved: int) -> Text:
        loaded, sampling = self.loaded, ticket.sampling
        begun = [start_id(loaded)] if self._reads_sources else ticket.prompt
        longest = self._longest(ticket) - len(begun)
        text = Text(
            ticket,
            list(begun),
            Sampler(sampling, begun, breakers_of(sampling, loaded.tokenizer)),
            Reply(loaded.tokenizer, loaded.stop_ids, sampling.stop, longest, wording(sampling)),
            constraint(sampling, loaded),
            reserved,
            blocks=found,
            states=self.memory.empty_states(),
            length=len(found) * self.blocks.block_tokens,
            named=len(found),
        )
        if self.memory.recurrent and self.options.share_prefixes:
            text.length, text.states = self.snapshots.find(ticket.prompt[:-1]) or (0, text.states)
        ticket.num_shared = text.length
        return text

    def _read_prompts(self) -> None:
        """Chunks of prompts in turn, so that a short one is not kept behind a long one."""
        budget = self.options.chunk_tokens
        while budget > 0 and self.reading:
            text = self.reading.popleft()
            chunk = text.ids[text.length : self._chunk_end(text, budget)]
            budget -= len(chunk)
            if text.length + len(chunk) < len(text.ids):
                self.reading.append(text)
                self._advance([text], [chunk])
            else:
                self.writing.append(text)
                self._next([text], [chunk])

    def _chunk_end(self, text: Text, budget: int) -> int:
        end = min(text.length + budget, len(text.ids))
        # A state can't be taken back a token, so it is kept where the same prompt would come by again.
        keep_before_last = self.memory.recurrent and text.length < len(text.ids) - 1
        return min(end, len(text.ids) - 1) if keep_before_last else end

    def _write(self) -> None:
        """The next tokens of all that are being written; those for which as many were guessed go together."""
        drafts = self.speculator.propose(self.writing) if self.speculator and self.writing else {}
        for guessed in sorted({len(drafts[text].tokens) if text in drafts else 0 for text in self.writing}):
            texts = [t for t in self.writing if (len(drafts[t].tokens) if t in drafts else 0) == guessed]
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
            return self._pass(texts, new)
        except Exception as error:
            for text in texts:
                self._fail(text, error)
            return None

    def _pass(self, texts: Sequence[Text], new: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read as many new tokens of each text; their normed states (B, T, C)."""
        T = len(new[0])
        for text in texts:
            while len(text.blocks) < self._needed(text.length + T):
                text.blocks.append(self.blocks.take(text.blocks[-1] if text.blocks else None))
        batch = Batch(self.memory, texts, T)
        ids_BT = torch.tensor([list(ids) for ids in new], device=self.memory.device)
        hidden_BTC = self._with_sources(texts, ids_BT) if self._reads_sources else self.model.hidden(ids_BT, batch)
        batch.keep_states()
        for text in texts:
            text.length += T
            self._share(text)
        return hidden_BTC

    def _with_sources(self, texts: Sequence[Text], ids_BT: torch.Tensor) -> torch.Tensor:
        """One text after the other: each looks at a source of its own length."""
        model, states = self.model, []
        assert isinstance(model, EncoderDecoder)
        for text, ids_T in zip(texts, ids_BT):
            if text.source is None:
                text.source = model.encode(torch.tensor([text.ticket.prompt], device=self.memory.device))
            states.append(model.hidden(ids_T[None], text.source, Batch(self.memory, [text], len(ids_T))))
        return torch.cat(states)

    def _share(self, text: Text) -> None:
        """Let others find what has been read."""
        if not self.options.share_prefixes or self._reads_sources or text.length > len(text.ids):
            return
        if self.memory.recurrent:
            if text.length < len(text.ticket.prompt):
                self.snapshots.keep(text.ids[: text.length], text.states)
            return
        whole = text.length // self.blocks.block_tokens
        if whole > text.named:
            self.blocks.name(text.blocks, text.ids[: text.length], text.named)
            text.named = whole

    def _ask_masks(self, texts: Sequence[Text]) -> Masks:
        """What constraints allow, worked out beside the forward pass."""
        return {t: self._masks.submit(t.constraint.allowed) for t in texts if t.constraint is not None}

    def _choose(self, texts: Sequence[Text], states_BC: torch.Tensor, masks: Masks) -> None:
        """Draw each text's next token from its own state. What goes wrong ends that text alone."""
        logits_BV = self.model.head(states_BC)
        finite_B = torch.isfinite(logits_BV).all(-1).tolist()
        for text, logits_V, finite in zip(texts, logits_BV, finite_B):
            try:
                if not finite:
                    raise not_numbers()
                allowed = masks[text].result() if text in masks else None
                self._give(text, text.sampler.draw(logits_V, allowed))
            except Exception as error:
                self._fail(text, error)

    def _verify(self, texts: Sequence[Text], drafts: Mapping[Text, Draft]) -> None:
        """Read the guesses, keep those the model would have written, and the token it writes behind them."""
        before = [(text.length, text.states) for text in texts]
        hidden_BTC = self._advance(texts, [[*text.unread, *drafts[text].tokens] for text in texts])
        if hidden_BTC is None:
            return
        logits_BTV = self.model.head(hidden_BTC)
        for text, logits_TV, (length, states) in zip(texts, logits_BTV, before):
            try:
                self._accept(text, logits_TV, drafts[text])
            except Exception as error:
                self._fail(text, error)
            if not text.ticket.done:
                self._take_back(text, length, states)

    def _accept(self, text: Text, logits_TV: torch.Tensor, draft: Draft) -> None:
        if not torch.isfinite(logits_TV).all():
            raise not_numbers()
        text.ticket.num_drafted += len(draft.tokens)
        for place, logits_V in enumerate(logits_TV):
            allowed = text.constraint.allowed() if text.constraint is not None else None
            guess = draft.tokens[place] if place < len(draft.tokens) else None
            token = next_token(text.sampler, logits_V, allowed, guess, draft.shares_kV, place)
            self._give(text, token)
            text.ticket.num_accepted += token == guess
            if token != guess or text.ticket.done:
                return

    def _take_back(self, text: Text, length: int, states: States) -> None:
        """Forget the wrong guesses. Keys are written over; a recurrent state is the old one, and reads the right ones
        again."""
        known = len(text.ids) - 1
        if text.length > known and self.memory.recurrent:
            text.length, text.states = length, states
            if length < known:
                self._pass([text], [text.ids[length:known]])
        text.length = min(text.length, known)
        self._share(text)

    def _give(self, text: Text, token: int) -> None:
        text.sampler.saw(token)
        if text.constraint is not None:
            text.constraint.accept(token)
        text.ids.append(token)
        piece = text.reply.push(token)
        text.ticket.pieces.append(piece)
        if piece.finish:
            text.ticket.done = True
            self._drop(text)

    def _fail(self, text: Text, error: Exception) -> None:
        text.ticket.error, text.ticket.done = error, True
        self._drop(text)

    def _drop(self, text: Text) -> None:
        """Free what a text holds."""
        (self.reading if text in self.reading else self.writing).remove(text)
        self.blocks.release(text.blocks)
        text.blocks, text.states = [], []
        if self.speculator is not None:
            self.speculator.drop(text)


def start_id(loaded: Pretrained) -> int:
    """What an encoder-decoder's target begins with."""
    named = (source.get("decoder_start_token_id") for source in (loaded.generation, loaded.model.config))
    return next((token for token in named if token is not None), 0)


def prepared(loaded: Pretrained, weights: str) -> Pretrained:
    if weights == "keep":
        return loaded
    from hanlin.core.generate.kernels import with_weights

    return with_weights(loaded, weights)


def constraint(sampling: Sampling, loaded: Pretrained) -> Constraint | None:
    if not any(getattr(sampling, name) for name in ("json_schema", "regex", "grammar", "choices", "script")):
        return None
    from hanlin.core.generate.constrain import constraint_of

    return constraint_of(sampling, loaded)


def wording(sampling: Sampling) -> TextFilter | None:
    if not sampling.wording:
        return None
    from hanlin.core.generate.constrain.wording import Wording

    return Wording()


def not_numbers() -> HanlinError:
    return HanlinError(
        "The model's logits are not finite numbers.",
        "a model whose training did not diverge",
        "hanlin evaluate model=…  shows its state",
        "docs/models.md",
    )
