"""Fetches one file over https: with progress, gone on with where it broke off, and never more than was permitted.

Redirects are followed to https only (from this computer itself also to itself). Standard library only.
"""

from __future__ import annotations

import dataclasses
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from dr_edge import metadata
from dr_edge.progress import Progress
from dr_edge.remote import address

TIMEOUT = 30.0  # seconds without a byte
LEAST_RATE = 1024  # bytes a second, on the mean, after TIMEOUT: a byte now and then would keep a command for ever
TRIES = 3  # of a connection that breaks
PAUSE = 1.0  # seconds before the second try, twice that before the third
PIECE = 1 << 18  # bytes
BY_HAND = "Try again later, or download the bundle by hand and give its directory."
_BROKEN = (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError)
_PASSING = (408, 416, 425, 429)  # HTTP statuses of which another try may help, beside 500 and above
_WHY = {
    401: "It is private, or the name is wrong. Download the bundle with your account and give its directory.",
    403: "It is private, or access must be asked for. Download the bundle with your account and give its directory.",
}


class DownloadError(RuntimeError):
    """A file could not be fetched, or is not the one that was meant; says what to do."""


class _BrokeOff(Exception):
    """The connection failed on the way; another try may help."""


def download(
    url: str, path: Path, limit: int, bar: Progress, sha256: str | None = None, size_is_known: bool = False
) -> None:
    """Fetches `url` to `path`.

    Args:
      url: https, or http to this computer.
      path: where it goes. What an interrupted call left there is gone on with where `sha256` is known.
      limit: bytes that it may have.
      bar: counts bytes.
      sha256: the file's, 64 hexadecimal digits; None where it is not known, and the caller must check.
      size_is_known: the bar's total has this file's bytes already.

    Raises:
      DownloadError: it is not there, is too large, has another SHA-256, or the connection broke too often. Of another
        SHA-256 nothing is left; of a connection that broke the part that came.
      OSError: the file cannot be written.
    """
    file = _File(url, path, limit, bar, sha256 is not None, size_is_known)
    if sha256 is None:
        path.unlink(missing_ok=True)
    from_before = file.have > 0
    file.count(file.have)
    bar.update(file.have)
    for attempt in range(TRIES):
        if file.is_whole(sha256):
            return
        try:
            file.receive()
        except _BrokeOff as err:
            if attempt == TRIES - 1:
                raise DownloadError(f"{url} could not be fetched: {err}. {BY_HAND}") from err
            time.sleep(PAUSE * (attempt + 1))
            continue
        if sha256 is None or file.is_whole(sha256):
            return
        actual = metadata.sha256_file(path)
        file.restart()
        if not from_before:
            raise DownloadError(
                f"{url}: sha256 {actual[:12]}... differs from {sha256[:12]}... in metadata.json. The file was changed "
                "there, or on the way, and was not kept. Ask whoever publishes the bundle."
            )
        from_before = False  # the part from before was of another file: once more from the beginning
    raise DownloadError(f"{url} came otherwise each time. {BY_HAND}")


@dataclasses.dataclass
class _File:
    """A file on its way: see `download`."""

    url: str
    path: Path
    limit: int
    bar: Progress
    resume: bool
    size_is_known: bool
    counted: int = 0  # bytes of it in the bar's total, where its size was not known

    @property
    def have(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def is_whole(self, sha256: str | None) -> bool:
        return sha256 is not None and self.path.exists() and metadata.sha256_file(self.path) == sha256

    def restart(self) -> None:
        """Removes what came."""
        self.bar.update(-self.have)
        self.path.unlink(missing_ok=True)

    def receive(self) -> None:
        """Receives what is missing, or all where it cannot be gone on with; raises _BrokeOff."""
        if not self.resume:
            self.restart()
        have = self.have
        headers = {"User-Agent": "dr_edge", "Accept-Encoding": "identity"}
        with self._open(headers | ({"Range": f"bytes={have}-"} if have else {})) as answer:
            goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if have and not goes_on:
                self.restart()
                have = 0
            if answer.status == 206 and not goes_on:
                raise _BrokeOff("the server sent another part than was asked for")
            coding = answer.headers.get("Content-Encoding", "identity")
            if coding.lower() != "identity":
                raise DownloadError(f"{self.url} is sent compressed ({coding}), which changes its bytes. {BY_HAND}")
            length = answer.headers.get("Content-Length", "")
            size = have + int(length) if length.isdecimal() else None
            self._expect(size)
            self._write(answer, have, size)

    def _write(self, answer: Any, have: int, size: int | None) -> None:
        """Writes the body of an answer behind the `have` bytes that stand there; `size` is what that must come to."""
        until = time.monotonic() + TIMEOUT
        with open(self.path, "ab" if have else "wb") as file:
            try:
                while piece := answer.read1(PIECE):
                    have += len(piece)
                    self._check(have)
                    file.write(piece)
                    self.bar.update(len(piece))
                    until += len(piece) / LEAST_RATE
                    if time.monotonic() > until:
                        raise _BrokeOff(f"less than {LEAST_RATE} bytes a second came")
            except _BROKEN as err:
                raise _BrokeOff(_reason(err)) from err
            file.flush()
            os.fsync(file.fileno())
        if size is not None and have < size:
            raise _BrokeOff(f"the connection ended after {have} of {size} bytes")

    def _expect(self, size: int | None) -> None:
        """Checks the size that the server states, and tells the bar."""
        self._check(size or 0)
        if size is not None:
            self.count(size)

    def count(self, size: int) -> None:
        """Puts the file's bytes into the bar's total, once."""
        if size and not self.size_is_known:
            self.bar.total = (self.bar.total or 0) + size - self.counted
            self.counted = size

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise DownloadError(
                f"{self.url} is larger than the {self.limit / 1e6:,.0f} MB that are permitted: that is no file of this "
                "bundle. Check the address, or download the bundle by hand and give its directory."
            )

    def _open(self, headers: dict[str, str]) -> Any:
        """Returns the answer to a request that succeeded."""
        handlers: list[Any] = [_Redirects()]
        if address.is_loopback(self.url):
            handlers.append(urllib.request.ProxyHandler({}))  # no proxy is asked for this computer itself
        request = urllib.request.Request(self.url, headers=headers)
        try:
            return urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as err:
            err.close()
            if err.code == 416:  # more is here than there
                self.restart()
            if err.code in _PASSING or err.code >= 500:
                raise _BrokeOff(f"HTTP {err.code} {err.reason}") from err
            why = _WHY.get(err.code, "Check the address, and that the whole bundle lies there.")
            raise DownloadError(f"{self.url} could not be fetched: HTTP {err.code} {err.reason}. {why}") from err
        except (urllib.error.URLError, *_BROKEN) as err:
            reason = getattr(err, "reason", err)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise DownloadError(
                    f"{self.url}: the certificate of the server is not trusted ({reason.verify_message}). Check the "
                    "address; where your network has a certificate of its own, set SSL_CERT_FILE to it."
                ) from err
            raise _BrokeOff(_reason(reason if isinstance(reason, BaseException) else err)) from err


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to https only; to http of this computer only from there."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Returns the request that follows, or raises DownloadError."""
        from_here = req.full_url.startswith("http:")  # which is permitted to this computer alone
        if not address.is_permitted(newurl) or (newurl.startswith("http:") and not from_here):
            fp.close()
            raise DownloadError(f"{req.full_url} leads to {newurl}, and only https is followed. {BY_HAND}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(err: BaseException) -> str:
    if isinstance(err, TimeoutError):
        return f"no byte came for {TIMEOUT:g} seconds"
    return str(getattr(err, "strerror", None) or err) or type(err).__name__
