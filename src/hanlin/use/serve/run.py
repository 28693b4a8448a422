"""Open the door: check the port, load the model, say where the page is, serve until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import sys
import webbrowser
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.access.keys import read_keys
from hanlin.use.serve.access.tls import check_tls
from hanlin.use.serve.config import Serve

MORE = "src/hanlin/use/serve/README.md"


def serve(model_path: str | Path, config: Serve) -> None:
    """Serve a model folder until SIGTERM or Ctrl-C. Raises HanlinError for a missing extra, an open host without a
    token or keys, files of TLS or keys that can't be used, a port in use, or a model that can't be loaded, in that
    order: the cheap checks first."""
    check_extra()
    check_host(config)
    check_tls(config)
    if config.keys:
        read_keys(Path(config.keys))
    with listen(config.host, config.port) as listener:
        from hanlin.use.serve.app import create_app
        from hanlin.use.serve.backends.opening import open_served
        from hanlin.use.serve.stopping import server_of

        app = create_app(open_served(model_path, config), config)
        # A client that leaves in the middle of a reply is no news; asyncio would say so for each token under way.
        logging.getLogger("asyncio").addFilter(lambda record: "socket.send()" not in record.getMessage())
        url = page_url(listener, "https" if config.tls_cert else "http")
        print(f"Hanlin serves {model_path}\n  chat page  {url}\n  OpenAI API {url}v1\nCtrl-C stops it.", flush=True)
        if config.open_page:
            webbrowser.open(url)
        with contextlib.suppress(KeyboardInterrupt):
            server_of(app).run(sockets=[listener])
        print("Stopped.")


def check_host(config: Serve) -> None:
    """Raises HanlinError when others could use the server and it asks for no token and no keys."""
    if config.token or config.keys:
        return
    if not is_loopback(config.host):
        reason, option = "lets other machines use this server", f"host={config.host}"
    elif config.behind_proxy:
        reason, option = "lets everybody whom the proxy lets in use this server", "behind_proxy=true"
    elif "*" in config.cors:
        reason, option = "lets every web page that is open on this machine use this server", "cors=\"['*']\""
    else:
        return
    raise HanlinError(
        f"{option} {reason}, and no token or keys are set.",
        "this machine alone, or a token or keys that clients must send",
        f"hanlin serve … {option} token=<a long random text>",
        MORE,
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before the model is loaded, so that a busy port is known at once.

    Raises HanlinError naming the port, and a free one where there is one.
    """
    try:
        return _listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = free_port_after(host, port)
            raise HanlinError(
                f"Port {port} on {host} is in use by another program.",
                "a free port",
                f"hanlin serve … port={free}",
                MORE,
            ) from None
        raise HanlinError(
            f"Can't listen on {host}, port {port}: {error.strerror or error}.",
            "an address of this machine, and a port from 1024 to 65535",
            "hanlin serve … host=127.0.0.1 port=8000",
            MORE,
        ) from None


def free_port_after(host: str, port: int) -> int:
    """The next free port, or one the system chooses."""
    for candidate in [*range(port + 1, min(port + 50, 65536)), 0]:
        try:
            with _listen(host, candidate) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    return 0


def page_url(listener: socket.socket, scheme: str = "http") -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # On Windows the same option would let two servers share a port.
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def check_extra() -> None:
    """Raises HanlinError where the packages that serve are not installed."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise HanlinError(
            f"Serving needs the package {error.name}, which is not installed.",
            "the extra named serve",
            'pip install "hanlin[serve]"',
            MORE,
        ) from None
