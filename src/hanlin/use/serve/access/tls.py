"""Certificate and key, looked at before the model is loaded."""

from __future__ import annotations

import ssl
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.config import Serve

PAGE = "docs/serve.md#tls"
MAKE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem"
)


def check_tls(config: Serve) -> None:
    """Raises HanlinError when one of the two is missing, can't be read, or doesn't go with the other."""
    if not config.tls_cert and not config.tls_key:
        return
    if not (config.tls_cert and config.tls_key):
        given, missing = ("tls_cert", "tls_key") if config.tls_cert else ("tls_key", "tls_cert")
        do = f"hanlin serve … {missing}=<file>"
        raise HanlinError(f"{given} is set, {missing} is not.", "both, in PEM", do, PAGE)
    for path in (config.tls_cert, config.tls_key):
        if not Path(path).is_file():
            raise HanlinError(f"There is no file {path}.", "a file in PEM", f"to try it out: {MAKE}", PAGE)
    try:
        # An empty password, so that a key that has one fails here instead of asking at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key, password="")
    except (ssl.SSLError, OSError) as error:
        raise HanlinError(
            f"{config.tls_cert} and {config.tls_key} don't serve: {_reason(error)}.",
            "a certificate chain and its own private key, without a password, both in PEM",
            f"openssl x509 -in {config.tls_cert} -noout -subject; openssl pkey -in {config.tls_key} -noout",
            PAGE,
        ) from None


def _reason(error: OSError) -> str:
    known = {
        "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
        "NO_START_LINE": "one of them is not PEM",
    }
    if isinstance(error, PermissionError):
        return "this user may not read them"
    reason = getattr(error, "reason", None) or ""
    return known.get(reason, "the key has a password or is damaged" if not reason else reason.lower().replace("_", " "))
