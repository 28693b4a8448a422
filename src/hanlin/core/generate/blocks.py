"""The cache as blocks of a few tokens: who holds which, and which hold a beginning that another text shares. Kwon et
al. 2023 (PagedAttention), https://arxiv.org/abs/2309.06180.

A block is named by what it holds: its own tokens and the block before it. A text that begins as another did finds those
blocks by name and reads on from there. A block nobody holds keeps its name until its place is needed; the one unused
longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from hanlin.core.run.errors import HanlinError

Name = tuple[int | str, tuple[int, ...]]
"""The block before (its `_ids`; at a text's beginning the adapter it is read with, "" for none) and the block's tokens:
equal names are equal contents, never by chance."""


class Blocks:
    """num_blocks places of block_tokens tokens each. Numbers only: the keys and values lie elsewhere."""

    def __init__(self, num_blocks: int, block_tokens: int):
        self.num_blocks, self.block_tokens = num_blocks, block_tokens
        self._holders = [0] * num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        """Without a holder and without a name."""
        self._kept: OrderedDict[int, None] = OrderedDict()
        """Without a holder, with a name; unused longest first."""
        self._named: dict[Name, int] = {}
        self._name_of: dict[int, Name] = {}
        self._ids: dict[int, int] = {}
        """Block → a number its name alone has had, so that a block put in its place is no longer found behind it."""
        self._next_id = 1

    @property
    def num_available(self) -> int:
        """Blocks nobody holds."""
        return len(self._free) + len(self._kept)

    def needed(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_tokens)

    def take(self, after: int | None = None) -> int:
        """A block for new tokens: the one behind `after` if it is free, so that a text lies in one piece; else the
        beginning of the longest free stretch. Raises HanlinError when all are held."""
        if after is not None and after + 1 in self._free:
            block = after + 1
        elif self._free:
            block = self._longest_stretch()
        elif self._kept:
            block = next(iter(self._kept))
        else:
            raise HanlinError(
                f"All {self.num_blocks} blocks of the cache are in use.",
                "a free block",
                "engine.cache_tokens=… with a larger number",
                "docs/generate.md",
            )
        self._free.pop(block, None)
        self._kept.pop(block, None)
        self._forget(block)
        self._holders[block] = 1
        return block

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of blocks; from the end, so that a beginning outlives what follows it."""
        for block in reversed(blocks):
            assert self._holders[block] > 0, "a block is released once by each holder"
            self._holders[block] -= 1
            if not self._holders[block]:
                (self._kept if block in self._name_of else self._free)[block] = None

    def find(self, tokens: Sequence[int], adapter: str = "") -> list[int]:
        """The named blocks in which `tokens` begin, longest run of whole blocks; the caller then holds them. adapter:
        the one they were read with."""
        found: list[int] = []
        before: int | str = adapter
        for start in range(0, len(tokens) - self.block_tokens + 1, self.block_tokens):
            block = self._named.get((before, tuple(tokens[start : start + self.block_tokens])))
            if block is None:
                break
            found.append(block)
            before = self._ids[block]
        for block in found:
            self._holders[block] += 1
            self._kept.pop(block, None)
        return found

    def name(self, blocks: Sequence[int], tokens: Sequence[int], first: int = 0, adapter: str = "") -> None:
        """Blocks `first` on of a text, whose whole blocks among `tokens` have been read, can be found from now on.
        adapter: the one they were read with.

        What is known already under another block keeps that one."""
        for place in range(first, len(tokens) // self.block_tokens):
            block = blocks[place]
            before: int | str = self._ids.get(blocks[place - 1], -1) if place else adapter
            start = place * self.block_tokens
            name = (before, tuple(tokens[start : start + self.block_tokens]))
            if block in self._name_of:
                continue
            if before == -1 or name in self._named:
                return  # a twin was read at the same time; this one stays without a name
            self._named[name], self._name_of[block], self._ids[block] = block, name, self._next_id
            self._next_id += 1

    def num_holders(self, block: int) -> int:
        return self._holders[block]

    def _forget(self, block: int) -> None:
        name = self._name_of.pop(block, None)
        if name is not None:
            del self._named[name], self._ids[block]

    def _longest_stretch(self) -> int:
        best = length = best_length = 0
        for block in range(self.num_blocks + 1):
            if block in self._free:
                length += 1
                continue
            if length > best_length:
                best, best_length = block - length, length
            length = 0
        return best


def stretches(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """(first block, how many) of each run of neighbours."""
    runs: list[tuple[int, int]] = []
    for block in blocks:
        if runs and block == runs[-1][0] + runs[-1][1]:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((block, 1))
    return runs
