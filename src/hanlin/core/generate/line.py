"""Who is next: clients take turns, and each client's requests keep their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Line(Generic[Item]):
    """A waiting line. Nobody is passed over because another's request is smaller: all get their turn."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Item]] = OrderedDict()
        """By client; the first one's turn is next."""

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[Item]:
        return iter([item for queue in self._queues.values() for item in queue])

    def add(self, item: Item, client: str = "") -> None:
        self._queues.setdefault(client, deque()).append(item)

    def peek(self) -> Item:
        """The next one. Raises IndexError when nobody waits."""
        if not self._queues:
            raise IndexError("nobody waits")
        return next(iter(self._queues.values()))[0]

    def pop(self) -> Item:
        """The next one, taken out; its client's next turn comes after everybody else's."""
        item = self.peek()
        client, queue = next(iter(self._queues.items()))
        queue.popleft()
        del self._queues[client]
        if queue:
            self._queues[client] = queue
        return item

    def remove(self, item: Item) -> bool:
        """Take out one that waits; False when it doesn't."""
        for client, queue in self._queues.items():
            if item in queue:
                queue.remove(item)
                if not queue:
                    del self._queues[client]
                return True
        return False
