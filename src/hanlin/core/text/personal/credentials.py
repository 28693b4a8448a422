"""Keys, tokens and passwords in text: by their issuer's own prefix, or by what they are assigned to.

Prefixes are those the issuers document (AWS unique identifiers, GitHub token formats, Google API keys, Slack
tokens, …); JSON Web Tokens by RFC 7519, private keys by RFC 7468. Other secrets count only where a word like
`password` is assigned a value that looks drawn: Shannon's entropy of its own characters, H = −Σ p log₂ p, must be
high for its length. So hashes, UUIDs and pictures in base64, which are assigned to other words, are none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from hanlin.core.text.personal.match import Match, resolve

CREDENTIALS: dict[str, str] = {
    "aws_key": r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",
    "github_token": r"(?:gh[pousr]_[0-9A-Za-z]{36,255}|github_pat_[0-9A-Za-z_]{60,255})",
    "gitlab_token": r"glpat-[0-9A-Za-z_-]{20,64}",
    "google_key": r"AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])|GOCSPX-[0-9A-Za-z_-]{28}|ya29\.[0-9A-Za-z_-]{30,300}",
    "slack_token": r"xox[abeoprs]-(?:[0-9A-Za-z]{1,64}-){1,6}[0-9A-Za-z]{10,64}|https://hooks\.slack\.com/services/T[0-9A-Z]+/B[0-9A-Z]+/[0-9A-Za-z]{20,}",
    "anthropic_key": r"sk-ant-[0-9A-Za-z_-]{24,200}",
    "openai_key": r"sk-(?:proj-|svcacct-|admin-)[0-9A-Za-z_-]{32,300}|sk-[0-9A-Za-z]{40,64}(?![0-9A-Za-z-])",
    "huggingface_token": r"hf_[0-9A-Za-z]{30,40}(?![0-9A-Za-z])",
    "stripe_key": r"(?:sk|rk)_live_[0-9A-Za-z]{16,}",
    "line_token": r"(?<=Bearer )[0-9A-Za-z+/]{160,}={0,2}",
    "telegram_token": r"[0-9]{8,10}:AA[0-9A-Za-z_-]{33}(?![0-9A-Za-z_-])",
    "npm_token": r"npm_[0-9A-Za-z]{36}(?![0-9A-Za-z])",
    "pypi_token": r"pypi-AgEI[0-9A-Za-z_-]{50,300}",
    "jwt": r"eyJ[0-9A-Za-z_-]{8,600}\.eyJ[0-9A-Za-z_-]{8,4000}\.[0-9A-Za-z_-]{16,700}",
    "private_key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----)[\s\S]){16,20000}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
}
"""What is certain by its form. The whole match is the secret."""

ASSIGNED = ("url_password", "password")
"""What is found by its place: the password in an address, and a value assigned to a telling word."""

_FORMS = [(kind, re.compile(pattern)) for kind, pattern in CREDENTIALS.items()]
_URL = re.compile(r"(?<=[a-z0-9])://[^\s:/@\"'<>]{1,64}:(?P<secret>[^\s:/@\"'<>]{3,128})@[A-Za-z0-9.\[-]")
_WORD = re.compile(
    r"(?i:pass(?:word|wd|phrase)?|pwd|secret[_-]?(?:access[_-]?)?(?:key)?|token|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|credentials?|密碼|金鑰|權杖)"
    r"[\"'\]]{0,2}\s{0,3}(?:=>|:=|[:=：＝]|為|是)\s{0,3}(?P<quote>[\"'`]?)(?P<secret>[^\s\"'`<>(){}\[\],;，。；、]{6,200})(?P=quote)"
)
_STARTS_LIKE = re.compile(
    r"\$|%|<|\{|env\b|os\.|process\.|self\.|this\.|config|get|null|none|true|false|https?:|/|\*|x{3}|\.{2}",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(
    r"example|changeme|your|placeholder|dummy|secret|password|passwd|token|xxxx|1234567|abcdef|test|sample|default|redacted|密碼",
    re.IGNORECASE,
)
_HEX = re.compile("[0-9a-fA-F]+")
_NAME = re.compile(r"[A-Za-z_]+(?:[.:-]+[A-Za-z_]+)*")


def entropy(text: str) -> float:
    """Bits a character, of the text's own frequencies: at most log₂ of its length."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


def find_credentials(text: str, min_entropy: float = 3.0) -> list[Match]:
    """In order of place, not overlapping; `kind` is one of CREDENTIALS or ASSIGNED.

    min_entropy: bits a character of a value of 16 characters or more that is assigned to a word; a shorter one
    needs that share of the most its length allows.
    """
    return resolve([*_by_form(text), *_by_place(text, min_entropy)])


def _by_form(text: str) -> Iterator[Match]:
    for kind, pattern in _FORMS:
        for found in pattern.finditer(text):
            before = text[found.start() - 1 : found.start()]
            if not (before.isascii() and before.isalnum()):
                yield Match(kind, *found.span(), 0.95, checked=True)


def _by_place(text: str, min_entropy: float) -> Iterator[Match]:
    for found in _URL.finditer(text):
        if not _is_stand_in(found["secret"]):
            yield Match("url_password", *found.span("secret"), 0.9)
    for found in _WORD.finditer(text):
        secret = found["secret"]
        if not _is_stand_in(secret) and _looks_drawn(secret, min_entropy, bool(found["quote"])):
            yield Match("password", *found.span("secret"), 0.7)


def _is_stand_in(secret: str) -> bool:
    """A variable, a call, an example, or stars: nothing that opens anything."""
    return bool(_STARTS_LIKE.match(secret) or _EXAMPLE.search(secret)) or len(set(secret)) < 4


def _looks_drawn(secret: str, min_entropy: float, quoted: bool) -> bool:
    """Two kinds of characters at least, and entropy. Names with dots (settings.db.name) and Chinese words are not
    drawn."""
    if not secret.isascii() or _NAME.fullmatch(secret.rstrip(".:")):
        return False
    if not (quoted or any(char.isdigit() for char in secret)):
        return False
    kinds = sum(any(test(char) for char in secret) for test in (str.islower, str.isupper, str.isdigit))
    kinds += any(not char.isalnum() for char in secret)
    bound = min_entropy * min(1.0, math.log2(len(secret)) / 4)
    if _HEX.fullmatch(secret) and len(secret) < 24:
        return False
    return kinds >= (2 if quoted else 3 if len(secret) < 16 else 2) and entropy(secret) >= bound
