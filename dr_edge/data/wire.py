"""tf.train.Example and TFRecord as bytes, without TensorFlow: building and checking start at once and stay small.

Both formats are fixed and public. An Example is the protocol buffer map<string, Feature>, written with its names
sorted, as TensorFlow's deterministic serialisation does; a TFRecord frame is length, checksum, data, checksum (CRC-32C,
masked).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np

FRAME_BYTES = 16
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
Values = Sequence[bytes] | Sequence[int] | np.ndarray


class WireError(ValueError):
    """Bytes that are no Example or no TFRecord; says where."""


def serialise_example(features: Mapping[str, Values]) -> bytes:
    """Returns the bytes of a tf.train.Example.

    Args:
      features: name -> list of bytes, list of int, or float32 array. An empty list is written as bytes.
    """
    body = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(features[name]))) for name in sorted(features)
    )
    return _field(1, body)


def _feature(values: Values) -> bytes:
    if isinstance(values, np.ndarray):
        if values.dtype != np.float32 or values.ndim != 1:
            raise ValueError(f"A float feature is a float32 vector. Received: {values.dtype} {values.shape}.")
        return _field(_FLOAT_LIST, _field(1, values.astype("<f4").tobytes()))
    texts = [value for value in values if isinstance(value, bytes)]
    if len(texts) == len(values):
        return _field(_BYTES_LIST, b"".join(_field(1, value) for value in texts))
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) == len(values):
        return _field(_INT64_LIST, _field(1, b"".join(_varint(value & (1 << 64) - 1) for value in numbers)))
    raise ValueError(f"A feature holds bytes, int or float32. Received: {[type(value).__name__ for value in values]}.")


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def parse_example(data: bytes) -> dict[str, list[bytes] | list[int] | np.ndarray]:
    """Returns name -> list of bytes, list of int, or float32 vector of a serialised tf.train.Example.

    Raises:
      WireError: the bytes are no Example.
    """
    try:
        features: dict[str, list[bytes] | list[int] | np.ndarray] = {}
        for _, body in _fields(data, 1):
            for _, entry in _fields(body, 1):
                parts = dict(_fields(entry, 1, 2))
                features[parts[1].decode("utf-8")] = _parse_feature(parts.get(2, b""))
        return features
    except (IndexError, KeyError, UnicodeDecodeError, ValueError) as err:
        raise WireError(f"not a tf.train.Example: {type(err).__name__} {err}") from err


def _parse_feature(data: bytes) -> list[bytes] | list[int] | np.ndarray:
    for kind, values in _fields(data, _BYTES_LIST, _FLOAT_LIST, _INT64_LIST):
        if kind == _BYTES_LIST:
            return [value for _, value in _fields(values, 1)]
        packed = b"".join(value for _, value in _fields(values, 1))
        return np.frombuffer(packed, "<f4") if kind == _FLOAT_LIST else _parse_ints(packed)
    return []


def _parse_ints(data: bytes) -> list[int]:
    values, place = [], 0
    while place < len(data):
        value, place = _read_varint(data, place)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values


def _fields(data: bytes, *numbers: int) -> Iterator[tuple[int, bytes]]:
    """Yields (number, content) of a message whose fields are all length-delimited and of these numbers."""
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        length, place = _read_varint(data, place)
        if tag & 7 != 2 or tag >> 3 not in numbers or place + length > len(data):
            raise ValueError(f"unexpected field {tag >> 3} at byte {place}")
        yield tag >> 3, data[place : place + length]
        place += length


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
        shift += 7


def frame(data: bytes) -> bytes:
    """Returns `data` as one TFRecord frame."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def read_frames(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yields (byte offset of the frame, data) of a TFRecord file, each checksum compared.

    Raises:
      WireError: a checksum differs or the file ends inside a frame; names the example and the byte.
    """
    size = Path(path).stat().st_size
    offset = index = 0
    with open(path, "rb") as file:
        while offset < size:
            where = f"example {index} at byte {offset}"
            head = file.read(12)
            if len(head) < 12:
                raise WireError(f"{where}: the file ends inside a frame")
            if _checksum(head[:8]) != head[8:]:
                raise WireError(f"{where}: the checksum of the length differs")
            length = struct.unpack("<Q", head[:8])[0]
            if offset + length + FRAME_BYTES > size:
                raise WireError(f"{where}: the file ends inside a frame")
            data, tail = file.read(length), file.read(4)
            if _checksum(data) != tail:
                raise WireError(f"{where}: the checksum of the data differs")
            yield offset, data
            offset += length + FRAME_BYTES
            index += 1
