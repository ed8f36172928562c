"""The server behind the real nginx with the file that the documentation gives: what uvicorn leaves to it, and what it
must leave alone.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from nginx_proxy import NAME, Proxy, find_nginx, proxied
from page_actions import OFFLINE, compare, complaints, grade, opened, python_answers
from page_browser import Browser
from photographs import write_photographs
from serving import children_of, wait_until

LOGIN = ("user", "secret")
HEAD = f"Host: {NAME}\r\nAuthorization: Basic {base64.b64encode(':'.join(LOGIN).encode()).decode()}\r\n".encode()
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
QUICK = {
    "client_header_timeout 10s": "client_header_timeout 1s",
    "client_body_timeout 10s": "client_body_timeout 1s",
    "send_timeout 20s": "send_timeout 1s",
    "keepalive_timeout 15s": "keepalive_timeout 1s",
}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@dataclasses.dataclass(frozen=True)
class Site:
    """nginx, the process id of the server behind it, and what trusts its certificate."""

    proxy: Proxy
    server: int
    trust: ssl.SSLContext

    def client(self, login: tuple[str, str] | None = LOGIN) -> httpx.Client:
        named = {"host": self.proxy.host}
        return httpx.Client(base_url=self.proxy.url, verify=self.trust, auth=login, headers=named, timeout=60)

    def connect(self) -> ssl.SSLSocket:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        plain.settimeout(15)
        plain.connect(("127.0.0.1", self.proxy.port))
        return self.trust.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if find_nginx() is None:
        if os.environ.get("DR_EDGE_CI"):
            pytest.fail("no nginx; .ci/run installs it")
        pytest.skip("no nginx (apt install nginx-light)")
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def behind(
    start_server, bundle_dir, tmp_path_factory, certificate, fetched
) -> Callable[..., contextlib.AbstractContextManager[Site]]:
    """behind(changes to nginx.conf, flags of the server...): a context manager of both."""

    @contextlib.contextmanager
    def run(changes: dict[str, str] | None = None, *flags: str) -> Iterator[Site]:
        flags = flags or ("--workers=1",)
        with (
            start_server(bundle_dir, f"--allowed_hosts={NAME}", *flags) as server,
            proxied(tmp_path_factory.mktemp("nginx"), server.port, certificate, changes) as proxy,
        ):
            yield Site(proxy, server.process.pid, ssl.create_default_context(cafile=certificate[0]))

    return run


@pytest.fixture(scope="module")
def site(behind) -> Iterator[Site]:
    """One with the file as it is."""
    with behind() as running:
        yield running


@pytest.fixture(scope="module")
def quick(behind) -> Iterator[Site]:
    """One with times of a second."""
    with behind(QUICK) as running:
        yield running


def ended(client: socket.socket, drip: bytes = b"", seconds: float = 12) -> tuple[float, bytes]:
    """Sends a piece every 0.2 s until the other side ends the connection; returns seconds and what came.

    Raises:
      TimeoutError: it does not.
    """
    start, received = time.monotonic(), b""
    client.settimeout(0.2)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
        while time.monotonic() - start < seconds:
            with contextlib.suppress(TimeoutError):
                if drip:
                    client.sendall(drip)
                data = client.recv(4096)
                if not data:
                    return time.monotonic() - start, received
                received += data
        raise TimeoutError(f"open after {seconds} s; received {received[:200]!r}")
    return time.monotonic() - start, received


def connections(site: Site) -> int:
    """Returns how many sockets the server holds, the pipes of its workers not among them."""
    links = []
    for link in Path(f"/proc/{site.server}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(link))
    return sum(link.startswith("socket:") for link in links)


def test_the_page_and_a_photograph_pass(site, photograph):
    with site.client() as client:
        page = client.get("/")
        files = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
        assert "no-referrer" in page.headers["referrer-policy"] and len(files) > 3
        for name in (*files, "/sw.js", "/v1/bundle", "/v1/model/model.float32.tflite", "/docs"):
            assert client.get(name).status_code == 200, name
        origin = {"origin": f"https://{site.proxy.host}", "sec-fetch-site": "same-origin"}
        answer = client.post("/v1/predict?pictures=1", files={"image": photograph}, headers=origin)
        assert answer.json()["status"] == "answered" and answer.json()["pictures"]["crop"].startswith("data:image/png")
        strange = client.post("/v1/predict", files={"image": photograph}, headers={"origin": "https://elsewhere.test"})
        assert strange.status_code == 403
        assert client.get("/healthz", headers={"host": "elsewhere.test"}).status_code == 400


def test_a_browser_logs_in_and_grades_by_itself(site, chromium, vendored, bundle_dir, tmp_path_factory):
    [photograph, *_] = write_photographs(tmp_path_factory.mktemp("page") / "photographs")
    switches = ("--ignore-certificate-errors", f"--host-resolver-rules=MAP {NAME} 127.0.0.1")
    with Browser(chromium, switches) as browser:
        browser.open(f"https://{':'.join(LOGIN)}@{site.proxy.host}/healthz").close()
        with opened(browser, f"https://{site.proxy.host}/") as tab:
            [answer] = grade(tab, photograph)
            assert answer["outputs"] and tab.run("window.isSecureContext")
            compare(answer, python_answers(bundle_dir, [photograph])[0])
            tab.wait(OFFLINE)  # so the service worker got all its files through the login
            assert not complaints(tab)


def test_it_asks_for_a_password_and_for_https(site):
    for login in (None, ("user", "wrong")):
        with site.client(login) as client:
            assert {client.get(path).status_code for path in ("/", "/metrics", "/v1/bundle")} == {401}
            assert client.post("/v1/predict", files={"image": b"x"}).status_code == 401
    response = httpx.get(f"http://127.0.0.1:{site.proxy.plain_port}/docs?a=b", headers={"host": NAME})
    assert response.status_code == 301 and response.headers["location"] == f"https://{NAME}/docs?a=b"


def test_what_clients_say_of_themselves_is_replaced_and_no_websocket_is_opened(site):
    with site.client() as client:
        for headers in ({}, {"x-forwarded-proto": "http"}):
            response = client.get("/healthz/", headers=headers)  # the server redirects, to the scheme that it is told
            assert response.status_code == 307 and response.headers["location"] == f"https://{site.proxy.host}/healthz"
        key = {"sec-websocket-version": "13", "sec-websocket-key": base64.b64encode(bytes(16)).decode()}
        upgrade = {"connection": "upgrade", "upgrade": "websocket", **key}
        assert client.get("/healthz", headers=upgrade).status_code == 200


def test_a_body_beyond_the_limit_is_refused_in_the_servers_form(site):
    with site.client() as client:
        chunks = iter([PART, *[bytes(1 << 20)] * 33])
        form = {"content-type": "multipart/form-data; boundary=b"}
        for content in ({"files": {"image": bytes(33 << 20)}}, {"content": chunks, "headers": form}):
            response = client.post("/v1/predict", **content)
            assert response.status_code == 413 and response.json()["error"]["reason"] == "file too large"


@LINUX
def test_refusals_of_large_uploads_arrive_and_so_does_busy(behind):
    refusals = [
        (415, {"content": bytes(20 << 20), "headers": {"content-type": "image/jpeg"}}),
        (422, {"files": {"photo": bytes(20 << 20)}}),
        (403, {"files": {"image": bytes(20 << 20)}, "headers": {"origin": "https://elsewhere.test"}}),
    ]
    with behind(None, "--workers=1", "--queue=0") as site, site.client() as client:
        for status, content in refusals:
            assert {client.post("/v1/predict", **content).status_code for _ in range(8)} == {status}  # never 502
        (worker,) = children_of(site.server)
        os.kill(worker, signal.SIGSTOP)
        try:
            with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
                other = stack.enter_context(site.client())
                waiting = pool.submit(other.post, "/v1/predict", files={"image": b"x"})
                wait_until(lambda: "dr_edge_uploads 1.0" in client.get("/metrics").text)
                for _ in range(8):
                    response = client.post("/v1/predict", files={"image": bytes(20 << 20)})
                    assert response.status_code == 503 and response.headers["retry-after"].isdigit()
                os.kill(worker, signal.SIGCONT)
                assert waiting.result().status_code == 415
        finally:
            os.kill(worker, signal.SIGCONT)


SLOW = {
    "silent": (b"", b""),
    "header in drops": (b"GET /healthz HTTP/1.1\r\n" + HEAD + b"X: ", b"a"),
    "silent after an answer": (b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n", b""),
    "body that stops": (b"POST /v1/predict HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: 100000\r\n\r\n" + PART, b""),
}


@LINUX
@pytest.mark.parametrize("case", SLOW)
def test_a_slow_client_is_sent_away(quick, case):
    first, drip = SLOW[case]
    before = connections(quick)
    with quick.connect() as client:
        client.sendall(first)
        seconds, received = ended(client, drip)
    assert seconds > 0.9 and (b" 200 " in received) == (case == "silent after an answer")
    wait_until(lambda: connections(quick) == before)


def test_a_handshake_that_stalls_is_ended(quick):
    for piece, drip in ((b"", b""), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0")):
        with socket.create_connection(("127.0.0.1", quick.proxy.port), timeout=15) as client:
            client.sendall(piece)
            seconds, received = ended(client, drip)
        assert seconds > 0.9 and received == b""


@LINUX
def test_who_never_reads_is_dropped_by_both(behind, vendored):
    with behind(QUICK) as site, contextlib.ExitStack() as stack:
        before = connections(site)
        for _ in range(10):
            client = stack.enter_context(site.connect())
            client.sendall(b"GET /static/vendor/litert/wasm/litert_wasm_internal.wasm HTTP/1.1\r\n" + HEAD + b"\r\n")
        wait_until(lambda: connections(site) == before + 10)
        wait_until(lambda: connections(site) == before)
        assert not any((site.proxy.directory / "proxy").rglob("*/*/*"))  # nothing was laid into a file meanwhile


@LINUX
def test_a_crowd_of_silent_connections_reaches_nginx_only(site):
    before = connections(site)
    with contextlib.ExitStack() as stack, site.client() as client:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", site.proxy.port), timeout=5))
        assert client.get("/healthz").status_code == 200 and connections(site) <= before + 1


def test_one_address_cannot_take_all_places(site):
    head = b"POST /v1/predict HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: 100000\r\n\r\n" + PART
    with contextlib.ExitStack() as stack, site.client() as client:
        for _ in range(64):
            stack.enter_context(site.connect()).sendall(head)
        wait_until(lambda: client.get("/healthz").status_code == 503)
        refused = client.get("/healthz")
        assert refused.json()["error"]["reason"] == "busy" and refused.headers["retry-after"] == "2"
        stack.close()
        wait_until(lambda: client.get("/healthz").status_code == 200)


@LINUX
def test_a_photograph_on_its_way_lies_in_no_file(site):
    head = b"POST /v1/predict HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: 6000000\r\n\r\n" + PART
    with site.connect() as client, site.client() as other:
        client.sendall(head + bytes(5 << 20))
        wait_until(lambda: "dr_edge_buffered_bytes 0.0" not in other.get("/metrics").text)
        (worker,) = children_of(site.proxy.process.pid)
        links = [os.readlink(link) for link in Path(f"/proc/{worker}/fd").iterdir()]
        log = str(site.proxy.directory / "log.txt")
        assert {link for link in links if link.startswith("/") and not link.startswith("/dev/")} <= {log}
        for name in ("body", "proxy"):
            assert not any(path.is_file() for path in (site.proxy.directory / name).rglob("*"))
