"""The frames server and worker exchange over pipes: a JSON head, then bytes. No pickle: a worker is not trusted."""

from __future__ import annotations

import json
import struct
from typing import Any

PREFIX = struct.Struct(">II")  # lengths of head and body
MAX_HEAD = 1 << 24


def pack(head: dict[str, Any], body: bytes | bytearray = b"") -> bytes:
    """Returns a frame, all but `body`, which is to be sent after it."""
    text = json.dumps(head).encode()
    return PREFIX.pack(len(text), len(body)) + text


def unpack_prefix(prefix: bytes) -> tuple[int, int]:
    """Returns the lengths of head and body.

    Raises:
      ValueError: the head is longer than any that is sent.
    """
    head, body = PREFIX.unpack(prefix)
    if head > MAX_HEAD:
        raise ValueError(f"A frame's head of {head} bytes is longer than {MAX_HEAD}.")
    return head, body
