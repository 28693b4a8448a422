"""GPT-2's printable symbol for each byte: how byte-level BPE writes bytes into tokenizer.json."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def symbol_of_byte() -> dict[int, str]:
    """Radford et al. 2019: bytes that print stand for themselves, the rest follow from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


@lru_cache(maxsize=1)
def byte_of_symbol() -> dict[str, int]:
    return {symbol: byte for byte, symbol in symbol_of_byte().items()}


def symbols(data: bytes) -> str:
    """Bytes as byte-level BPE spells them."""
    table = symbol_of_byte()
    return "".join(table[byte] for byte in data)


def bytes_of(token: str) -> bytes:
    """The bytes a byte-level token stands for. A token with another character in it stands for its own UTF-8."""
    table = byte_of_symbol()
    try:
        return bytes(table[symbol] for symbol in token)
    except KeyError:
        return token.encode()
