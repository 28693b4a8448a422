"""Keys, tokens and passwords, and what only looks like one. All are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.text.personal.credentials import CREDENTIALS, entropy, find_credentials

_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    ("aws_key", "AKIA" + "2E3ROSFDN7QWTYZX"),
    ("github_token", "ghp_" + "a1B2c3D4e5F6" * 3),
    ("github_token", "github_pat_" + "a1B2c3D4e5" * 7),
    ("gitlab_token", "glpat-" + "a1B2c3D4e5F6g7H8i9J0"),
    ("google_key", "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q"),
    ("slack_token", "xoxb-" + "123456789012-abcdefGHIJKL"),
    ("slack_token", "https://hooks.slack.com/services/" + "T0AB12CD3/B0EF45GH6/" + "aB1cD2eF3gH4iJ5kL6mN7oP8"),
    ("anthropic_key", "sk-ant-" + "api03-a1B2c3D4e5F6g7H8i9J0k1L2"),
    ("openai_key", "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"),
    ("openai_key", "sk-" + "a1B2c3D4e5F6" * 4),
    ("huggingface_token", "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
    ("stripe_key", "sk_live_" + "a1B2c3D4e5F6g7H8"),
    ("telegram_token", "123456789:AA" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q"),
    ("npm_token", "npm_" + "a1B2c3D4e5F6" * 3),
    ("pypi_token", "pypi-AgEI" + "cHlwaS5vcmc" * 6),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"),
    ("private_key", _PEM),
]

ASSIGNED = [
    ("url_password", "postgres://admin:【S3cr3t9x】@db.internal:5432/x"),
    ("password", "password = '【hunter2xK9!】'"),
    ("password", "密碼：【Qw3rTy88】，請勿外流"),
    ("password", "SECRET_KEY: 【django-insecure-9x8$#kd02lsm】"),
    ("password", "aws_secret_access_key=【wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz1a2b3c4d】"),
    ("password", "access_token: 【5f4dcc3b5aa765d61d8327deb882cf99】"),
]

NONE = [
    "sha256: a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    "commit 0dbdeda5f4dcc3b5aa765d61d8327deb882cf99a",
    "id=550e8400-e29b-41d4-a716-446655440000",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4",
    "password=os.environ['X'] token: ${TOKEN} token = tokenizer.encode(text)",
    "max_tokens=4096 num_tokens: 8192 tokenizer_config.json",
    "api_key = config.api_key; password: string; password: ********",
    "密碼：請輸入您的密碼",
    "https://example.com/a:b@c postgres://user:password@localhost/db",
    "the secret: a sk-learn-like name, token-level loss",
    "passwordless authentication is described below",
]


@pytest.mark.parametrize("kind, secret", SECRETS)
def test_issuers_forms(kind, secret):
    text = f"設定 {secret} 完成"
    assert [(match.kind, text[match.start : match.end]) for match in find_credentials(text)] == [(kind, secret)]


@pytest.mark.parametrize("kind, text", ASSIGNED)
def test_what_a_telling_word_is_given(kind, text):
    start, end = text.index("【"), text.index("】") - 1
    text = text.replace("【", "").replace("】", "")
    assert [(match.kind, match.start, match.end) for match in find_credentials(text)] == [(kind, start, end)]


@pytest.mark.parametrize("text", NONE)
def test_no_secret(text):
    assert not find_credentials(text)


def test_every_form_but_one_is_tried():
    """Tokens of LINE are long base64 behind Bearer."""
    assert {kind for kind, _ in SECRETS} == set(CREDENTIALS) - {"line_token"}
    text = "Authorization: Bearer " + "aB3/" * 43
    assert [match.kind for match in find_credentials(text)] == ["line_token"]


def test_entropy_is_shannons():
    assert entropy("aaaa") == 0 and entropy("abcd") == 2 and entropy("0123456789abcdef") == 4


@given(st.text("aA1-_=:@/'\"token passwd密碼sk-eyJ.\n", max_size=200))
def test_any_text_gives_ordered_spans(text):
    places = [place for match in find_credentials(text) for place in (match.start, match.end)]
    assert places == sorted(places)
