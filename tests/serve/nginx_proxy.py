"""Runs nginx with dr_edge/serve/nginx.conf in front of a server, at ports and with files of the test's own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from dr_edge.serve.startup import NGINX

NAME = "screening.example.org"  # as in the file
AROUND = """{user}
daemon off;
pid {directory}/nginx.pid;
worker_processes 1;
events {{ worker_connections 768; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/dr_edge.conf;
}}
"""


@dataclasses.dataclass(frozen=True)
class Proxy:
    """nginx that runs: its ports for https and http, and its directory with `body`, `proxy` and `log.txt`."""

    port: int
    plain_port: int
    process: subprocess.Popen
    directory: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def host(self) -> str:
        return f"{NAME}:{self.port}"


def find_nginx() -> str | None:
    """Returns the path of nginx, which lies where only root's PATH may lead; None where there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def proxied(
    directory: Path, server: int, certificate: tuple[Path, Path], changes: dict[str, str] | None = None
) -> Iterator[Proxy]:
    """Runs nginx until the block ends.

    Args:
      directory: empty; what it writes.
      server: port of the server behind it.
      certificate: (cert.pem, key.pem).
      changes: further words of nginx.conf, each there once, and what stands in their place.
    """
    port, plain_port = _free_port(), _free_port()
    text = NGINX.read_text()
    (directory / "htpasswd").write_text("user:{PLAIN}secret\n")
    own = {
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "listen [::]:80;": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": "",
        f"/etc/ssl/certs/{NAME}.pem": str(certificate[0]),
        f"/etc/ssl/private/{NAME}.key": str(certificate[1]),
        "auth_basic_user_file /etc/nginx/dr_edge.htpasswd": f"auth_basic_user_file {directory / 'htpasswd'}",
        "proxy_pass http://127.0.0.1:8000": f"proxy_pass http://127.0.0.1:{server}",
    }
    for words, instead in {**own, **(changes or {})}.items():
        if text.count(words) != 1:
            raise ValueError(f"nginx.conf has {words!r} {text.count(words)} times, not once.")
        text = text.replace(words, instead)
    (directory / "dr_edge.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""  # its workers read the test's files
    (directory / "nginx.conf").write_text(AROUND.format(user=user, directory=directory))
    command = [find_nginx() or "nginx", "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", "stderr"]
    with open(directory / "log.txt", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"nginx did not start: {(directory / 'log.txt').read_text()}")
            time.sleep(0.05)
        yield Proxy(port, plain_port, process, directory)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
