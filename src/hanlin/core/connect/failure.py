"""What goes wrong on the way to a provider and back, in one form whichever client it came through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from hanlin.core.run.errors import HanlinError

PAGE = "docs/connect.md"

STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error that comes inside a stream would have been as a status; any other is 500."""

HOPELESS_CODES = {"insufficient_quota", "billing_hard_limit_reached"}
"""A 429 that no waiting ends."""


class Failure(Exception):
    """status: HTTP's; None where no answer came, or where it broke off. wait_seconds: how long the provider says to
    wait, where it does."""

    def __init__(
        self, message: str, status: int | None = None, wait_seconds: float | None = None, can_retry: bool | None = None
    ):
        self.status, self.wait_seconds = status, wait_seconds
        by_status = status is None or status in (408, 409, 429) or status >= 500
        self.can_retry = by_status if can_retry is None else can_retry
        super().__init__(" ".join(message.split()))


class RemoteError(HanlinError):
    """A provider did not answer. status: HTTP's, or None. ends_all: the next request would meet the same."""

    def __init__(self, what: str, expected: str, do: str, more: str, status: int | None, ends_all: bool = False):
        super().__init__(what, expected, do, more)
        self.status, self.ends_all = status, ends_all


def failure_of(error: Exception) -> Failure:
    """Of an exception of any of the clients, or of the HTTP library below them."""
    if isinstance(error, ValueError) and not hasattr(error, "response"):
        return Failure(f"what came is not what this API answers ({_short(error)})")
    body = _error_in(getattr(error, "body", None) or getattr(error, "details", None))
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if not isinstance(status, int) or status < 400:  # an error told within a stream
        status = STATUS_OF_TYPE.get(str(body.get("type")), 500) if body else None
    if "API_KEY_INVALID" in _reasons(body):  # Google's way to say 401
        status = 401
    message = str(body.get("message") or getattr(error, "message", "") or error)
    if status is None:
        return Failure(f"{message} ({_short(error.__cause__)})" if error.__cause__ else message)
    hopeless = body.get("code") in HOPELESS_CODES or body.get("type") in HOPELESS_CODES
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = _wait_seconds(headers, body)
    return Failure(message, status, wait, False if hopeless else None)


def explain(failure: Failure, place: str, variable: str, tries: int) -> RemoteError:
    """The four lines. place: "openai:gpt-x". variable: the environment's name of the key."""
    status, said = failure.status, str(failure)[:400]
    again = f" (asked {tries} times)" if tries > 1 else ""
    if status in (401, 403):
        return RemoteError(
            f"{place} refuses the key ({status}): {said}",
            f"a valid key in {variable}",
            f"export {variable}=…",
            f"{PAGE}#keys",
            status,
            ends_all=True,
        )
    if status == 404:
        expected, do, anchor = "a model and an address that exist", "check the name behind the colon", "addresses"
        return RemoteError(f"{place} is not found (404): {said}", expected, do, f"{PAGE}#{anchor}", status, True)
    if status == 429:
        do = "ask fewer at once (at_once=2), wait longer (patience_seconds=600)" if failure.can_retry else "top it up"
        expected = "requests within the account's limits"
        hopeless = not failure.can_retry
        return RemoteError(
            f"{place} has had enough (429){again}: {said}", expected, do, f"{PAGE}#waiting", 429, hopeless
        )
    if status is None:
        return RemoteError(
            f"{place} gave no whole answer{again}: {said}",
            "a server that answers at this address",
            "check the address and the network",
            f"{PAGE}#waiting",
            None,
        )
    if status >= 500 or failure.can_retry:
        expected, do = "a provider that works", "try again later"
        return RemoteError(f"{place} fails ({status}){again}: {said}", expected, do, f"{PAGE}#waiting", status)
    do = "change what it names"
    return RemoteError(
        f"{place} refuses the request ({status}): {said}", "a request it takes", do, f"{PAGE}#settings", status
    )


def _error_in(body: Any) -> Mapping[str, Any]:
    """The object that says what is wrong: providers put it alone, or below "error"."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, Mapping) else body


def _reasons(body: Mapping[str, Any]) -> list[str]:
    """Google's own words for what is wrong, beside the status."""
    details = body.get("details")
    return [str(detail.get("reason", "")) for detail in details] if isinstance(details, list) else []


def _wait_seconds(headers: Mapping[str, str], body: Mapping[str, Any]) -> float | None:
    """From Retry-After (seconds or a date, RFC 9110), OpenAI's finer retry-after-ms, or Google's RetryInfo."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        if "retry-after" in headers:
            return _seconds_until(headers["retry-after"])
        details = body.get("details")
        delays = [d["retryDelay"] for d in details if "retryDelay" in d] if isinstance(details, list) else []
        return float(str(delays[0]).removesuffix("s")) if delays else None
    except (ValueError, TypeError):  # no number and no date: as if it said nothing
        return None


def _seconds_until(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _short(error: BaseException | None) -> str:
    name = "no JSON" if isinstance(error, json.JSONDecodeError) else type(error).__name__
    return f"{name}: {str(error)[:120]}"
