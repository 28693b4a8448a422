"""Before the door opens: ports, hosts, the extra, the order of the checks."""

from __future__ import annotations

import builtins
import socket
from pathlib import Path

import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.config import Serve
from hanlin.use.serve.run import check_host, free_port_after, is_loopback, listen, page_url, serve


def test_a_port_in_use_is_named_with_a_free_one_before_the_model_is_loaded(tmp_path: Path):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HanlinError) as caught:
            serve(tmp_path / "no-model", Serve(port=port))
    assert f"Port {port}" in caught.value.what
    free = int(caught.value.do.rpartition("=")[2])
    assert free not in (0, port)
    listen("127.0.0.1", free).close()


def test_a_model_that_is_missing_is_an_error_and_frees_the_port(tmp_path: Path):
    with pytest.raises(HanlinError):
        serve(tmp_path / "no-model", Serve(port=0))


def test_the_last_port_has_no_next_one_so_the_system_chooses():
    assert 0 < free_port_after("127.0.0.1", 65535) < 65536


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "model.example"])
def test_another_host_needs_a_token(host: str):
    with pytest.raises(HanlinError, match="token"):
        check_host(Serve(host=host))
    check_host(Serve(host=host, token="secret"))


def test_this_machines_addresses_need_none():
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert is_loopback(host)
        check_host(Serve(host=host))


def test_an_address_of_another_machine_is_a_clear_error():
    with pytest.raises(HanlinError, match="Can't listen on"):
        listen("192.0.2.1", 8000)


def test_the_pages_address():
    with listen("127.0.0.1", 0) as listener:
        assert page_url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with listen("0.0.0.0", 0) as listener:
        assert page_url(listener).startswith("http://127.0.0.1:")


def test_the_pages_address_in_version_6():
    try:
        listener = listen("::1", 0)
    except (HanlinError, socket.gaierror):
        pytest.skip("this machine has no IPv6")
    with listener:
        assert page_url(listener).startswith("http://[::1]:")


def test_a_missing_extra_prints_its_install_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    real_import = builtins.__import__

    def without_fastapi(name: str, *rest: object, **more: object) -> object:
        if name.partition(".")[0] == "fastapi":
            raise ImportError(name="fastapi")
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_fastapi)
    with pytest.raises(HanlinError) as caught:
        serve(tmp_path, Serve())
    assert caught.value.do == 'pip install "hanlin[serve]"'
