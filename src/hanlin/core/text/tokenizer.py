"""The tokenizer at run time: text → ids, ids → text, and a stream decoder that never shows half a character.

Any Hugging Face tokenizer.json: byte-level BPE, SentencePiece's BPE and Unigram, WordPiece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from hanlin.core.run.artifact import write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.decoding import Plan, TextStream, plan_of
from hanlin.core.text.original_files import MODEL_FILE, read_original
from hanlin.core.text.plain_text import PlainText

END_OF_TEXT, IM_START, IM_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END, PAD)
"""Document separator, ChatML's start and stop, padding. Padding is its own token: pad ≠ eos, so that the stop is
trained."""

TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS_FILE, TEMPLATE_FILE = "special_tokens_map.json", "chat_template.jinja"

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ENDS = (END_OF_TEXT, "</s>")
PADS = (PAD, "<pad>", "[PAD]", "<|finetune_right_pad_id|>")
"""Where the settings name no token of this use, the first of these that the vocabulary has."""


class Tokenizer:
    """A `tokenizer.json` with its `tokenizer_config.json`; ids are those of the `tokenizers` library.

    backend: taken over: what its file says of truncation and padding is switched off, and the tokens the settings name
    (bos, eos, …) become special in it where it had them as ordinary ones.
    """

    def __init__(self, backend: Backend, settings: dict):
        self.backend = backend
        self.settings = settings
        # `encode_special_tokens` is a state of the backend: two threads of a server must not see each other's.
        self._lock = Lock()
        backend.no_truncation()
        backend.no_padding()
        names = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
        unmarked = [
            name for name in named_tokens(settings) if name not in names and backend.token_to_id(name) is not None
        ]
        if unmarked:
            backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in unmarked])

    @cached_property
    def vocab_size(self) -> int:
        """The greatest id + 1: how many rows an embedding needs. Ids in between may be unused."""
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def bos_token(self) -> str | None:
        return token_text(self.settings.get("bos_token"))

    @property
    def bos_id(self) -> int | None:
        return None if self.bos_token is None else self.id_of(self.bos_token)

    @property
    def eos_token(self) -> str:
        """The token that ends a text. Raises HanlinError where there is none (BERT)."""
        name = token_text(self.settings.get("eos_token")) or self._first_known(ENDS)
        if name is None:
            raise HanlinError(
                "The tokenizer names no token that ends a text.",
                "eos_token, as every model that continues text has",
                f'add "eos_token" to {TOKENIZER_CONFIG_FILE}',
                "docs/models.md",
            )
        return name

    @property
    def eos_id(self) -> int:
        return self.id_of(self.eos_token)

    @property
    def pad_id(self) -> int:
        """Fills what stands beside a text. Never trained, so a model without one may take its unknown or end token."""
        pad, unknown = (token_text(self.settings.get(key)) or "" for key in ("pad_token", "unk_token"))
        return self.id_of(self._first_known((pad, *PADS, unknown)) or self.eos_token)

    @cached_property
    def add_bos(self) -> bool:
        """Whether the model expects its first token before plain text: tokenizer_config.json's `add_bos_token`, else
        what tokenizer.json's post-processor adds."""
        if self._first_known((self.bos_token or "",)) is None:
            return False
        stated = self.settings.get("add_bos_token")
        if isinstance(stated, bool):
            return stated
        with self._lock:
            return self.backend.encode("", add_special_tokens=True).ids[:1] == [self.bos_id]

    @property
    def document_id(self) -> int:
        """The token that stands before every document: bos where the model expects it, else <|endoftext|>, else bos,
        else cls (BERT), else eos."""
        bos, cls = self.bos_token or "", token_text(self.settings.get("cls_token")) or ""
        first = (bos, END_OF_TEXT, cls) if self.add_bos else (END_OF_TEXT, bos, cls)
        return self.id_of(self._first_known(first) or self.eos_token)

    @property
    def chat_template(self) -> str:
        """The Jinja text; of several named ones (Command R) the one called "default", else the first."""
        template = self.settings.get("chat_template") or ""
        if isinstance(template, list):
            texts = {str(entry.get("name")): entry.get("template") for entry in template}
            template = texts.get("default") or next(iter(texts.values()), "")
        return template

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

    def _first_known(self, names: Iterable[str]) -> str | None:
        return next((name for name in names if self.backend.token_to_id(name) is not None), None)

    def encode(self, text: str, allow_special: bool = False, at_start: bool = True) -> list[int]:
        """Ids of `text`. Text that spells a special token stays plain text unless `allow_special`.

        at_start: False for text that follows other tokens. A tokenizer that puts a space before the first word of a
        text, and of none after it, then puts none.
        """
        guard = self._start if at_start else self._continued
        with self._lock:
            guard.backend.encode_special_tokens = not allow_special
            ids = guard.backend.encode(text, add_special_tokens=False).ids
        return ids if allow_special else guard.corrected(ids, text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts at once, on all cores; special tokens' names stay plain text."""
        with self._lock:
            self.backend.encode_special_tokens = True
            encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._start.corrected(encoding.ids, text) for encoding, text in zip(encodings, texts, strict=True)]

    def encode_framed(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole texts with the tokens the model expects around one ([CLS] … [SEP] of an encoder), uncut."""
        with self._lock:
            self.backend.encode_special_tokens = True
            self.backend.no_truncation()
            self.backend.no_padding()
            return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts))]

    @cached_property
    def _start(self) -> PlainText:
        return PlainText(self.backend)

    @cached_property
    def _continued(self) -> PlainText:
        cut = self.backend.pre_tokenizer
        state = cut.__getstate__().decode() if cut else ""
        if '"prepend_scheme":"first"' not in state:
            return self._start
        backend = Backend.from_str(self.backend.to_str())
        cut.__setstate__(state.replace('"prepend_scheme":"first"', '"prepend_scheme":"never"').encode())
        backend.pre_tokenizer = cut
        return PlainText(backend)

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        decoder = StreamDecoder(self, skip_special)
        return "".join([decoder.push(token) for token in ids]) + decoder.finish()

    @cached_property
    def plan(self) -> Plan | None:
        """The decoder in stream form; None for one that needs the whole sequence."""
        decoder = self.backend.decoder
        return plan_of(json.loads(decoder.__getstate__()) if decoder else None)

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes each id adds in the middle of a text; added tokens as their name in UTF-8; b"" for unused ids."""
        plan = self.plan or Plan()
        names = map(self.backend.id_to_token, range(self.vocab_size))
        return [b"" if name is None else plan.token_bytes(name, i in self.added_ids) for i, name in enumerate(names)]

    @cached_property
    def added_ids(self) -> frozenset[int]:
        return frozenset(self.backend.get_added_tokens_decoder())

    @cached_property
    def special_ids(self) -> frozenset[int]:
        return frozenset(i for i, token in self.backend.get_added_tokens_decoder().items() if token.special)

    def split_special(self, text: str) -> list[str]:
        """`text` cut at its special tokens: plain, special, plain, special, …, plain (plain parts may be empty).

        Spaces a token takes in (`lstrip`, `rstrip`, as Phi-3's do) are gone from the plain parts.
        """
        parts = self._special_names.split(text)
        for place in range(1, len(parts), 2):
            token = self._special_tokens[parts[place]]
            if token.lstrip:
                parts[place - 1] = parts[place - 1].rstrip()
            if token.rstrip:
                parts[place + 1] = parts[place + 1].lstrip()
        return parts

    @cached_property
    def _special_tokens(self) -> dict[str, AddedToken]:
        return {token.content: token for token in self.backend.get_added_tokens_decoder().values() if token.special}

    @cached_property
    def _special_names(self) -> re.Pattern[str]:
        longest_first = sorted(filter(None, self._special_tokens), key=len, reverse=True)
        return re.compile("(" + ("|".join(map(re.escape, longest_first)) or "(?!)") + ")")

    def save(self, folder: Path) -> None:
        with self._lock:
            self.backend.encode_special_tokens = False
            text = self.backend.to_str(pretty=True)
        write_atomic(folder / TOKENIZER_FILE, text)
        write_json(folder / TOKENIZER_CONFIG_FILE, self.settings)


class StreamDecoder:
    """Ids one at a time → text as soon as it is whole. A character split over tokens waits for its last byte.

    Joined, the pieces are what the `tokenizers` library decodes at once, with two exceptions. Half a character at the
    end is dropped. And where a run of <0x..> tokens is no UTF-8, the library shows U+FFFD for each of its bytes, whole
    characters too; here those have been shown already. Only bytes that can't become a character any more are U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True):
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._stream = TextStream(tokenizer.plan) if tokenizer.plan else None
        self._names: list[str] = []

    def push(self, token_id: int) -> str:
        name = self._tokenizer.backend.id_to_token(token_id)
        if name is None or (self._skip_special and token_id in self._tokenizer.special_ids):
            return ""
        if self._stream is None:
            self._names.append(name)
            return ""
        return self._stream.push(name, token_id in self._tokenizer.added_ids)

    def finish(self) -> str:
        """The text still owed: all of it where the decoder (CTC, BPEDecoder) needs the whole sequence, else nothing;
        half a character is not text."""
        names, self._names = self._names, []
        return self._tokenizer.backend.decoder.decode(names) if names else ""


def token_text(value: Any) -> str | None:
    """A token in tokenizer_config.json: its name, or an AddedToken as a dict with `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def named_tokens(settings: dict) -> list[str]:
    """Every token the settings give a use."""
    more = settings.get("additional_special_tokens") or settings.get("extra_special_tokens") or []
    values = [settings.get(key) for key in NAMED_TOKENS] + list(more.values() if isinstance(more, dict) else more)
    return [name for value in values if (name := token_text(value))]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of an artifact or a Hugging Face folder."""
    path, original = folder / TOKENIZER_FILE, folder / MODEL_FILE
    if not path.exists() and not original.exists():
        raise HanlinError(
            f"{folder} has no {TOKENIZER_FILE}.",
            "a folder with a tokenizer",
            "hanlin tokenize corpus=…",
            "src/hanlin/make/tokenize/README.md",
        )
    settings = settings_in(folder)
    if not path.exists():
        return Tokenizer(*read_original(original, settings))
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


def settings_in(folder: Path) -> dict:
    """tokenizer_config.json over the older special_tokens_map.json, with the template newer folders keep apart."""
    settings = _read_settings(folder / SPECIAL_TOKENS_FILE) | _read_settings(folder / TOKENIZER_CONFIG_FILE)
    template = folder / TEMPLATE_FILE
    if "chat_template" not in settings and template.exists():
        settings["chat_template"] = template.read_text(encoding="utf-8")
    return settings


def _read_settings(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("no object")
    except ValueError as error:  # of JSON, and of UTF-8
        raise HanlinError(
            f"{path} is not readable ({error}).",
            "a JSON object with the tokenizer's settings",
            "copy the file again",
            "docs/models.md",
        ) from None
    return settings
