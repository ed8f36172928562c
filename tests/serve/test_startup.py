"""What the server says where it cannot listen or other computers reach it, and that it reads its certificate first."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from dr_edge.serve import startup
from dr_edge.serve.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def taken() -> int:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(1)
        yield busy.getsockname()[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port=TAKEN"], "127.0.0.1:TAKEN is taken: another program listens there, perhaps this server"),
        (["--allowed_hosts=https://clinic.test"], "--allowed_hosts=https://clinic.test: no name of a host."),
        (["--bundle=nowhere"], "nowhere is no directory"),
        (["--artifact=int4"], "It has: float32"),
        (["--tls_key=key.pem"], "go together"),
        (["--tls_key=key.pem", "--tls_certificate=no.pem"], "--tls_certificate=no.pem and --tls_key=key.pem cannot"),
    ],
)
def test_what_cannot_be_served_is_named_with_what_to_do(
    taken: int, bundle_dir: Path, flags: list[str], said: str
) -> None:
    # Of a flag the last one counts.
    given = [flag.replace("TAKEN", str(taken)) for flag in (f"--bundle={bundle_dir}", *flags)]
    command = [sys.executable, "-m", "dr_edge.serve", *given]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)
    assert result.returncode == 1 and said.replace("TAKEN", str(taken)) in result.stderr
    assert "Errno" not in result.stderr and "Traceback" not in result.stderr


def test_other_addresses_that_cannot_be_listened_on_are_told_apart(taken: int) -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.7:8000 is no address of this computer"):
        startup.listen("203.0.113.7", 8000)  # reserved for documentation
    with pytest.raises(OSError, match="no address of that name"):
        startup.listen("no.such.host.invalid", 8000)
    with pytest.raises(OSError, match="is taken.*--port=0"):
        startup.listen("localhost", taken)


def test_what_it_listens_at_is_told_and_reached() -> None:
    listening = startup.listen("localhost", 0)
    try:
        ports = {one.getsockname()[1] for one in listening}
        assert len(ports) == 1 and 0 not in ports  # one port, at 127.0.0.1 and ::1
        port = ports.pop()
        assert startup.url("localhost", port, secure=True) == f"https://localhost:{port}/"
        assert startup.url("::1", 8000, secure=False) == "http://[::1]:8000/"
        for one in listening:
            with socket.create_connection(one.getsockname()[:2], timeout=5):
                pass
            with pytest.raises(OSError, match="is taken"):
                startup.listen(*one.getsockname()[:2])
    finally:
        for one in listening:
            one.close()


def test_a_name_that_stands_for_an_address_twice_is_listened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    once = socket.getaddrinfo("127.0.0.1", 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(startup.socket, "getaddrinfo", lambda *_, **__: once * 2)
    (one,) = startup.listen("localhost", 0)
    one.close()


def test_other_computers_reach_it_only_with_a_caution(start_server, bundle_dir: Path) -> None:
    with start_server(bundle_dir, "--workers=1", "--host=0.0.0.0") as running:
        log = running.log.read_text()
        assert httpx.get(f"{running.url}/healthz", headers={"host": "clinic.test"}).status_code == 200
    for said in ("There is no password", "unencrypted", "Put nginx in front", "serve/nginx.conf"):
        assert said in log
    assert "unencrypted" not in startup.exposed("0.0.0.0", secure=True)
    assert startup.NGINX.is_file()


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    _, key = write_certificate(tmp_path)
    with pytest.raises(OSError, match=r"nowhere\.pem and --tls_key=.*key\.pem cannot be used: No such file.*PEM files"):
        startup.uvicorn_config(None, Settings(), "nowhere.pem", str(key))
    (tmp_path / "wrong.pem").write_text("no certificate")
    with pytest.raises(OSError, match=r"wrong\.pem and --tls_key=.* cannot be used.*PEM files"):
        startup.uvicorn_config(None, Settings(), str(tmp_path / "wrong.pem"), str(key))


def test_the_server_imports_no_framework(bundle_dir: Path) -> None:
    code = (
        "import sys\nfrom dr_edge.prediction.bundle import open_bundle\nfrom dr_edge.serve import worker\n"
        "from dr_edge.serve.app import create_app\n"
        f"create_app(open_bundle({str(bundle_dir)!r}))\n"
        "print([name for name in ('tensorflow', 'keras', 'scipy', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY
    )
    assert result.stdout.strip() == "[]", result.stderr
