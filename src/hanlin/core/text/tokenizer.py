"""The tokenizer at run time: text → ids, ids → text, and a stream decoder that never shows half a character."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock

from tokenizers import Tokenizer as Backend

from hanlin.core.run.artifact import write_atomic, write_json
from hanlin.core.run.errors import HanlinError

END_OF_TEXT, IM_START, IM_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END, PAD)
"""Document separator, ChatML's start and stop, padding. Padding is its own token: pad ≠ eos, so that the stop is
trained."""

TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"


class Tokenizer:
    """A `tokenizer.json` with its `tokenizer_config.json`. Byte-level BPE here; ids are those of the `tokenizers`
    library."""

    def __init__(self, backend: Backend, settings: dict):
        self.backend = backend
        self.settings = settings
        # `encode_special_tokens` is a state of the backend: two threads of a server must not see each other's.
        self._lock = Lock()

    @property
    def vocab_size(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    @property
    def eos_token(self) -> str:
        return self.settings.get("eos_token", END_OF_TEXT)

    @property
    def eos_id(self) -> int:
        return self.id_of(self.eos_token)

    @property
    def pad_id(self) -> int:
        return self.id_of(self.settings.get("pad_token", PAD))

    @property
    def document_id(self) -> int:
        """The token that stands before every document in pretraining."""
        return self.id_of(END_OF_TEXT)

    @property
    def chat_template(self) -> str:
        return self.settings.get("chat_template", "")

    def id_of(self, token: str) -> int:
        found = self.backend.token_to_id(token)
        if found is None:
            raise HanlinError(
                f"The tokenizer has no token {token}.",
                f"a tokenizer with {', '.join(SPECIAL_TOKENS)}",
                "hanlin tokenize makes one",
                "src/hanlin/make/tokenize/README.md",
            )
        return found

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Ids of `text`. Text that spells a special token stays plain text unless `allow_special`."""
        with self._lock:
            self.backend.encode_special_tokens = not allow_special
            return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts at once, on all cores; special tokens' names stay plain text."""
        with self._lock:
            self.backend.encode_special_tokens = True
            encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        decoder = StreamDecoder(self, skip_special)
        return "".join([decoder.push(token) for token in ids]) + decoder.finish()

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes each id stands for; special tokens as their name in UTF-8."""
        added = {token_id: token.content for token_id, token in self.backend.get_added_tokens_decoder().items()}
        table = byte_of_symbol()
        result = []
        for token_id in range(self.vocab_size):
            if token_id in added:
                result.append(added[token_id].encode())
            else:
                symbols = self.backend.id_to_token(token_id) or ""
                result.append(bytes(table[symbol] for symbol in symbols))
        return result

    @cached_property
    def special_ids(self) -> frozenset[int]:
        return frozenset(i for i, token in self.backend.get_added_tokens_decoder().items() if token.special)

    def split_special(self, text: str) -> list[str]:
        """`text` cut at its special tokens: plain, special, plain, special, …, plain (plain parts may be empty)."""
        return self._special_names.split(text)

    @cached_property
    def _special_names(self) -> re.Pattern[str]:
        names = [self.backend.id_to_token(token_id) or "" for token_id in self.special_ids]
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        return re.compile("(" + ("|".join(map(re.escape, longest_first)) or "(?!)") + ")")

    def save(self, folder: Path) -> None:
        with self._lock:
            self.backend.encode_special_tokens = False
            text = self.backend.to_str(pretty=True)
        write_atomic(folder / TOKENIZER_FILE, text)
        write_json(folder / TOKENIZER_CONFIG_FILE, self.settings)


class StreamDecoder:
    """Ids one at a time → text as soon as it is whole. A character split over tokens waits for its last byte.

    Only bytes that can't become a character any more are shown as U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True):
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        if self._skip_special and token_id in self._tokenizer.special_ids:
            return ""
        return self._utf8.decode(self._tokenizer.token_bytes[token_id])

    def finish(self) -> str:
        """What was left incomplete at the end is dropped: half a character is not text."""
        self._utf8.reset()
        return ""


@lru_cache(maxsize=1)
def symbol_of_byte() -> dict[int, str]:
    """GPT-2's printable symbol for each byte. Radford et al. 2019: bytes that print stand for themselves, the rest
    follow from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


@lru_cache(maxsize=1)
def byte_of_symbol() -> dict[str, int]:
    return {symbol: byte for byte, symbol in symbol_of_byte().items()}


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of an artifact or a Hugging Face folder."""
    path = folder / TOKENIZER_FILE
    if not path.exists():
        raise HanlinError(
            f"{folder} has no {TOKENIZER_FILE}.",
            "a folder with a tokenizer",
            "hanlin tokenize corpus=…",
            "src/hanlin/make/tokenize/README.md",
        )
    settings_path = folder / TOKENIZER_CONFIG_FILE
    settings = json.loads(settings_path.read_text(encoding="utf-8")) if settings_path.exists() else {}
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every unreadable file
        raise HanlinError(
            f"{path} is not a readable tokenizer ({error}).",
            "a Hugging Face tokenizer.json",
            "make it again with hanlin tokenize",
            "src/hanlin/make/tokenize/README.md",
        ) from None
    return Tokenizer(backend, settings)
