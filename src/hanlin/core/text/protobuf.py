"""Protocol buffers' wire format, read only: https://protobuf.dev/programming-guides/encoding/.

Nothing is copied or allocated by a length the file states: what does not fit into the bytes at hand is a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""Wire types. Groups (3, 4) are of the first version alone and not read."""


def fields_of(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of a message's fields: an int for a varint, else the bytes. Raises ValueError at the first
    thing that does not fit into the message."""
    view = memoryview(data)
    place = 0
    while place < len(view):
        key, place = _varint(view, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(view, place)
            yield number, value
            continue
        if wire == BYTES:
            size, place = _varint(view, place)
        elif wire in (FOUR_BYTES, EIGHT_BYTES):
            size = 4 if wire == FOUR_BYTES else 8
        else:
            raise ValueError(f"wire type {wire} at byte {place}")
        if size > len(view) - place:
            raise ValueError(f"{size} bytes promised at byte {place}, {len(view) - place} left")
        yield number, view[place : place + size]
        place += size


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            raise ValueError("it ends inside a number")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"an endless number at byte {place}")


def number_in(value: int | memoryview) -> int:
    """An int32 or enum: negative numbers are written as 64 bits."""
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    value &= (1 << 32) - 1
    return value - (1 << 32) if value >= 1 << 31 else value


def bytes_in(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value
