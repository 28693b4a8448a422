"""Where a remote model is: "openai:gpt-…", "anthropic:…", "gemini:…", "ollama:…" or "http://host:port/v1#name"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from hanlin.core.run.errors import HanlinError, did_you_mean

PAGE = "docs/connect.md#addresses"

KEY_VARIABLES: dict[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "ollama": (),
    "http": ("HANLIN_API_KEY",),
}
"""Where each provider's key is looked for, in this order."""

NEEDS_KEY = ("openai", "anthropic", "gemini")

OLLAMA_PORT = 11434


@dataclass(frozen=True)
class Address:
    """provider: one of KEY_VARIABLES. url: of the API; "": the official client's own."""

    provider: str
    model: str
    url: str = ""

    def __str__(self) -> str:
        """Without what a URL may hold of secrets."""
        if self.provider != "http":
            return f"{self.provider}:{self.model}"
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}#{self.model}"

    @property
    def key_variable(self) -> str:
        """The name of the environment variable to speak of; "" where there is none."""
        return next(iter(KEY_VARIABLES[self.provider]), "")


def is_remote(text: str) -> bool:
    """Whether it is the address of a remote model rather than of a file or a package."""
    return text.partition(":")[0] in (*KEY_VARIABLES, "https") and ":" in text


def parse_address(text: str, model: str = "", url: str = "") -> Address:
    """model: for an address that doesn't name it. url: another place where the provider's API is answered.

    Raises HanlinError for what is no such address."""
    provider, colon, rest = text.partition(":")
    if not colon or provider not in (*KEY_VARIABLES, "https"):
        raise HanlinError(
            f'"{text}" is not the address of a remote model.',
            f"{did_you_mean(provider, KEY_VARIABLES)}",
            'hanlin.connect("openai:…"), or hanlin.load(…) for a model of your own',
            PAGE,
        )
    if provider in ("http", "https"):
        place, _, named = text.partition("#")
        return _checked(Address("http", model or named, url or place.rstrip("/")), text)
    if provider == "ollama" and not url:
        url = _ollama_url(os.environ.get("OLLAMA_HOST", ""))
    return _checked(Address(provider, model or rest, url), text)


def find_key(address: Address) -> str:
    """From the environment; "" where there is none."""
    return next((os.environ[name] for name in KEY_VARIABLES[address.provider] if os.environ.get(name)), "")


def needs_key(address: Address) -> HanlinError:
    variable = address.key_variable
    return HanlinError(
        f"{address} needs a key, and there is none.",
        f"the environment variable {' or '.join(KEY_VARIABLES[address.provider])}, or key=…",
        f"export {variable}=…",
        "docs/connect.md#keys",
    )


def _checked(address: Address, text: str) -> Address:
    if address.url and not urlsplit(address.url).hostname:
        raise HanlinError(f'"{address.url}" is no URL.', "http://host:port/v1", "correct it", PAGE)
    if not address.model:
        example = f"{text.partition('#')[0]}#NAME" if address.provider == "http" else f"{address.provider}:NAME"
        raise HanlinError(
            f'"{text}" names no model.',
            f"{example}, or model=…",
            f"curl {address.url}/models" if address.provider == "http" else f"hanlin generate {example} …",
            PAGE,
        )
    return address


def _ollama_url(host: str) -> str:
    """OLLAMA_HOST may be a host, host:port or URL; 0.0.0.0 is where it listens, not where it is asked."""
    host = host.removeprefix("http://").rstrip("/") or "127.0.0.1"
    if host.startswith("https://"):
        return f"{host}/v1"
    name, _, port = host.partition(":")
    return f"http://{'127.0.0.1' if name in ('', '0.0.0.0') else name}:{port or OLLAMA_PORT}/v1"
