"""What a server is told when it starts, and the limits that keep strangers' uploads from hurting it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """Limits of the server; the defaults suit a clinic's computer.

    Attributes:
      workers: processes that decode and grade; each holds one interpreter.
      threads: of the arithmetic of each.
      queue: uploads that may wait beyond those being graded; more are answered 503.
      max_upload_bytes: of one request's body.
      max_buffered_bytes: of all uploads that are held at a moment, once each; more are answered 503. A worker holds the
        one that it grades as well.
      max_pixels: larger photographs are refused before they are decoded.
      upload_seconds: a body must have arrived by then.
      upload_grace_seconds, min_upload_rate: after that time a body must have come at this many bytes per second; places
        are only taken by whole bodies, so this bounds how long strangers' crumbs are kept.
      wait_seconds: longest wait for a free worker.
      cpu_seconds: processor time that one photograph may take in a worker; then the worker is replaced.
      wall_seconds: the same by the clock, for a machine with too much to do.
      max_connections: with so many open ones, requests are answered 503.
      keep_alive_seconds: a connection is closed when so long no request followed an answer.
      allowed_hosts: names in a request's Host that are answered; "*" for any.
    """

    workers: int = 2
    threads: int = 1
    queue: int = 32
    max_upload_bytes: int = 32 << 20
    max_buffered_bytes: int = 256 << 20
    max_pixels: int = 60_000_000
    upload_seconds: float = 60.0
    upload_grace_seconds: float = 10.0
    min_upload_rate: float = 16384.0
    wait_seconds: float = 30.0
    cpu_seconds: int = 10
    wall_seconds: float = 60.0
    max_connections: int = 512
    keep_alive_seconds: int = 15  # longer than clients keep idle ones (httpx: 5 s): they would send into a closing one
    allowed_hosts: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "allowed_hosts":
                continue
            if value < (0 if field.name == "queue" else 1e-3):
                raise ValueError(f"{field.name} must be positive. Received: {value}.")
        if self.max_buffered_bytes < self.max_upload_bytes:
            raise ValueError(
                f"max_buffered_bytes ({self.max_buffered_bytes}) must hold one upload ({self.max_upload_bytes} bytes)."
            )
