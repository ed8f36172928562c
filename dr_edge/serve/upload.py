"""Receives an upload in memory: bounded while it arrives, never on disk.

(Starlette's own form parser spools files larger than a megabyte to the disk.)
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from dr_edge.serve.errors import Busy, RequestError
from dr_edge.serve.settings import Settings

IMAGE, LABEL = "image", "label"
MAX_LABEL_BYTES = 400
MAX_PARTS = 8
RETRY_SECONDS = 2
# The rest of a body is not waited for. Elsewhere it is read and dropped: closing would reset the connection, and a
# proxy that is still sending would answer 502 instead of the refusal.
CLOSE = {"Connection": "close"}


@dataclasses.dataclass(frozen=True)
class Upload:
    """What a request to /v1/predict holds: the file's bytes, and the label that was given (None: none).

    `image` is the buffer that they were received into: a copy would take twice what `Gate` counts.
    """

    image: bytearray
    label: str | None


class Gate:
    """Counts uploads and their bytes, and lets no more in than the settings allow."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.admitted = 0
        self.buffered = 0

    def check(self) -> None:
        """Raises Busy when all places are taken: no need to receive a body then."""
        if self.admitted >= self._settings.workers + self._settings.queue:
            raise Busy("The server has as many photographs as it can hold.", RETRY_SECONDS)

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Holds one of the places, for an upload that has arrived; raises Busy when all are taken."""
        self.check()
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1

    @contextlib.asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """Receives the body of a request and holds its bytes' place until the upload has been used.

        Raises:
          RequestError: no form with one image, too large, too slow; Busy where too many bytes are held already.
        """
        form = _Form(_boundary(request))
        _check_length(request, self._settings.max_upload_bytes)
        held, start = 0, asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(start + self._patience(0)) as limit:
                async for chunk in request.stream():
                    held += len(chunk)
                    self.buffered += len(chunk)
                    if held > self._settings.max_upload_bytes:
                        raise _too_large(self._settings.max_upload_bytes)
                    if self.buffered > self._settings.max_buffered_bytes:
                        raise Busy("The server holds as many bytes as it can.", RETRY_SECONDS)
                    form.feed(chunk)
                    limit.reschedule(start + self._patience(held))
            yield form.finish()
        except TimeoutError as err:
            raise RequestError(
                408,
                "too slow",
                f"The body did not arrive within {self._settings.upload_seconds:g} s, or came at less than "
                f"{self._settings.min_upload_rate:g} bytes a second.",
                CLOSE,
            ) from err
        except ClientDisconnect as err:
            raise RequestError(400, "cut off", "The connection ended inside the body.") from err
        finally:
            form.close()
            self.buffered -= held

    def _patience(self, held: int) -> float:
        """Returns how many seconds after its start a body may still be awaited, when `held` bytes have come."""
        earned = self._settings.upload_grace_seconds + held / self._settings.min_upload_rate
        return min(self._settings.upload_seconds, earned)


def _too_large(limit: int) -> RequestError:
    return RequestError(
        413, "file too large", f"An upload may have at most {limit} bytes. Reduce the photograph.", CLOSE
    )


def _check_length(request: Request, limit: int) -> None:
    length = request.headers.get("content-length")
    if length is not None and int(length) > limit:  # the HTTP parser lets digits only through
        raise _too_large(limit)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RequestError(415, "no form", "Send multipart/form-data with a field 'image': curl -F image=@eye.jpg URL")
    return options[b"boundary"]


class _Form:
    """Parses multipart/form-data into the two fields that there may be."""

    def __init__(self, boundary: bytes) -> None:
        self._fields: dict[str, bytearray] = {}
        self._parts, self._ended = 0, False
        self._header, self._value, self._disposition = b"", b"", b""
        self._data: bytearray | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_part_data": self._part_data,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
            )
        except FormParserError as err:
            raise _broken(str(err)) from err

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as err:
            raise _broken(str(err)) from err

    def finish(self) -> Upload:
        """Returns the upload, when the body has ended."""
        if not self._ended:
            raise _broken("it ends before its last boundary")
        image = self._fields.get(IMAGE)
        if image is None:
            raise RequestError(422, "no image", "The form has no field 'image': curl -F image=@eye.jpg URL")
        label = self._fields.get(LABEL)
        try:
            text = None if label is None else label.decode("utf-8").strip()
        except UnicodeDecodeError as err:
            raise RequestError(422, "unknown label", "The field 'label' is no UTF-8 text.") from err
        return Upload(image, text or None)

    def close(self) -> None:
        """Lets the bytes go now: parser and form hold each other, which only the garbage collector would end."""
        self._fields.clear()
        self._parser.callbacks = {}

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _broken(f"it has more than {MAX_PARTS} parts")
        self._disposition, self._data = b"", None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in (IMAGE, LABEL):
            raise RequestError(
                422, "unknown field", f"The form may have the fields image and label, not {name[:40]!r}."
            )
        if name in self._fields:
            raise RequestError(422, "two of a field", f"The form has two fields {name!r}; one photograph per request.")
        self._data = self._fields[name] = bytearray()
        self._limit = MAX_LABEL_BYTES if name == LABEL else None

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._data is None:
            raise _broken("a part has data before its header")
        self._data += data[start:end]
        if self._limit is not None and len(self._data) > self._limit:
            raise RequestError(422, "unknown label", f"The field 'label' is longer than {self._limit} bytes.")

    def _end(self) -> None:
        self._ended = True


def _broken(why: str) -> RequestError:
    return RequestError(400, "broken form", f"The multipart form cannot be read: {why}.")
