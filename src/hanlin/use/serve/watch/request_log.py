"""One line of JSON a request: who, what, how long, how much. Never what was said, unless that is asked for."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.watch.account import Account, WatchedJob

TO_STDERR = "stderr"


class RequestLog:
    """Writes to a file, or with "stderr" to the standard error. A file that was moved away is begun anew (logrotate).

    Raises HanlinError where the file can't be opened.
    """

    def __init__(self, path: str):
        try:
            self._handler = (
                logging.StreamHandler(sys.stderr)
                if path == TO_STDERR
                else logging.handlers.WatchedFileHandler(Path(path), encoding="utf-8")
            )
        except OSError as error:
            raise HanlinError(
                f"The log can't be written: {error.strerror or error} ({path}).",
                "a file this user may write, in a folder that exists",
                "hanlin serve … log=<another file>, or log=stderr",
                "docs/serve.md#logs",
            ) from None

    def __call__(self, account: Account) -> None:
        line = json.dumps(described(account), ensure_ascii=False)
        self._handler.handle(logging.LogRecord("hanlin.requests", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        self._handler.close()


def described(account: Account) -> dict[str, Any]:
    """A request as the log shows it. Seconds of several replies to one request are those of the slowest."""
    facts: dict[str, Any] = {
        "time": datetime.fromtimestamp(account.wall, UTC).isoformat(timespec="milliseconds"),
        "id": account.id,
        "key": account.client,
        "method": account.method,
        "route": account.route,
        "status": account.status,
        "seconds": round(account.seconds, 4),
    }
    if account.code or account.ended_by:
        facts["code"] = account.code or account.ended_by
    if account.model:
        facts |= {"model": account.model, "adapter": account.adapter, "tokens_in": account.num_prompt_tokens}
    if account.replies:
        facts |= {
            "tokens_cached": account.num_shared_tokens,
            "tokens_out": account.num_reply_tokens,
            "finish": ",".join(finish_of(reply) for reply in account.replies),
            **{name: round(seconds, 4) for name, seconds in phases(account.replies).items()},
        }
    if account.keeps_texts and account.body:
        facts["request"] = _readable(account.body)
        facts["replies"] = ["".join(reply.texts) for reply in account.replies]
    return facts


def finish_of(reply: WatchedJob) -> str:
    """ "stop", "length", "error", or "cancelled" where its client left or the server ended it."""
    return reply.finish or ("error" if reply.failed else "cancelled")


def phases(replies: list[WatchedJob]) -> dict[str, float]:
    """Seconds in line, reading the prompt, and writing; a phase that was not reached is left out."""
    found: dict[str, float] = {}
    for reply in replies:
        times = reply.times
        for name, start, end in (
            ("queue_seconds", times.asked, times.begun),
            ("prefill_seconds", times.begun, times.first),
            ("decode_seconds", times.first, times.ended),
        ):
            if start and end:
                found[name] = max(found.get(name, 0.0), end - start)
    return found


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
