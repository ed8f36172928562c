"""Takes a bundle out of an archive that nobody vouches for: only what metadata.json lists, as it lists it.

The archive is read as hostile until metadata.json with the right SHA-256 was found in it: no link, no name that leads
out, no more bytes than permitted, whatever its headers say. Then each file is checked as it is written.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from dr_edge.remote.address import MANIFEST
from dr_edge.remote.download import DownloadError

MOST_ENTRIES = 10_000
MOST_MANIFEST = 4 << 20  # bytes of metadata.json
MOST_MANIFESTS = 100
MOST_AT_ONCE = 8 << 20  # bytes that are read in one piece
PIECE = 1 << 20  # bytes
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    RuntimeError, ValueError, OverflowError,
)  # fmt: skip
_ASK = "Ask whoever publishes the bundle."

Opener = Callable[[], IO[bytes]]


class Archive:
    """The files of an open archive by name; see `opened`."""

    def __init__(self, url: str, files: Mapping[str, Opener]) -> None:
        self._url, self._files = url, files

    def __contains__(self, name: object) -> bool:
        """Tells whether there is a file of that name."""
        return name in self._files

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        """Yields (folder with its slash, content) of each metadata.json, the uppermost first."""
        names = [name for name in self._files if name.rpartition("/")[2] == MANIFEST]
        for name in sorted(names, key=lambda name: (name.count("/"), name))[:MOST_MANIFESTS]:
            with self._files[name]() as file:
                content = file.read(MOST_MANIFEST + 1)
            if len(content) <= MOST_MANIFEST:
                yield name.removesuffix(MANIFEST), content

    def read(self, name: str, limit: int) -> bytes:
        """Returns the content of a small file; raises DownloadError where it is not there, or has more than `limit`."""
        if name not in self._files:
            raise DownloadError(f"{self._url} lacks {name}. {_ASK}")
        with self._files[name]() as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise DownloadError(f"{self._url}: {name} is larger than permitted. {_ASK}")
        return content

    def extract(self, name: str, path: Path, sha256: str, limit: int) -> int:
        """Writes one file; returns its bytes.

        Args:
          name: in the archive.
          path: where it goes.
          sha256: the file's, 64 hexadecimal digits.
          limit: bytes that it may have.

        Raises:
          DownloadError: it is not there, larger, or another one; nothing is left of it then.
        """
        if name not in self._files:
            raise DownloadError(f"{self._url} lacks {name}, which its metadata.json lists. {_ASK}")
        digest, written = hashlib.sha256(), 0
        try:
            with self._files[name]() as source, open(path, "wb") as target:
                while piece := source.read(PIECE):
                    written += len(piece)
                    if written > limit:
                        raise DownloadError(f"{self._url}: {name} is larger than permitted. {_ASK}")
                    digest.update(piece)
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            if digest.hexdigest() != sha256:
                raise DownloadError(f"{self._url}: {name} is not the file that metadata.json lists. {_ASK}")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return written


@contextlib.contextmanager
def opened(path: Path, url: str, limit: int) -> Iterator[Archive]:
    """Opens an archive that was fetched.

    Args:
      path: the file; a .tar.gz is unpacked to a .tar beside it, which is removed in the end.
      url: where it is from, for messages.
      limit: bytes that a .tar may have.

    Raises:
      DownloadError: it is damaged, of another format, or holds links, names that lead out, or too much.
    """
    plain = path.with_name(f"{path.name}.tar")
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"PK\x03\x04":
            with _BoundedReader(path) as file, zipfile.ZipFile(file) as archive:
                yield Archive(url, _zipped(archive, url))
            return
        if start[:2] == b"\x1f\x8b":
            _gunzip(path, plain, url, limit)
        with _BoundedReader(plain if plain.exists() else path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            yield Archive(url, _in_tar(tar, url))
    except DownloadError:
        raise
    except (*_DAMAGED, OSError) as err:
        if isinstance(err, OSError) and err.errno is not None:  # of this computer: a full disk
            raise
        raise DownloadError(
            f"{url} cannot be unpacked ({err}). It is damaged, or no .zip or .tar.gz. Check the address."
        ) from err
    finally:
        plain.unlink(missing_ok=True)


class _BoundedReader(io.BufferedReader):
    """A file that is read in pieces: zipfile and tarfile would take a list of names, or a header, of any size whole."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns up to `size` bytes; raises ValueError where that is more than MOST_AT_ONCE."""
        if size is not None and size > MOST_AT_ONCE:
            raise ValueError(f"a header of {size / 1e6:,.0f} MB")
        return super().read(size)


def _gunzip(path: Path, plain: Path, url: str, limit: int) -> None:
    with gzip.open(path) as source, plain.open("wb") as target:
        left = limit
        while piece := source.read(PIECE):
            left -= len(piece)
            if left < 0:
                raise DownloadError(f"{url} unpacks to more than {limit / 1e6:,.0f} MB: that is no bundle.")
            target.write(piece)


def _zipped(archive: zipfile.ZipFile, url: str) -> dict[str, Opener]:
    files: dict[str, Opener] = {}
    for count, entry in enumerate(archive.infolist()):
        kind = stat.S_IFMT(entry.external_attr >> 16)
        _check_entry(entry.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR), count, url)
        if not entry.is_dir():
            files[_plain_name(entry.filename)] = lambda entry=entry: archive.open(entry)  # type: ignore[misc, assignment]
    return files


def _in_tar(tar: tarfile.TarFile, url: str) -> dict[str, Opener]:
    files: dict[str, Opener] = {}
    for count, entry in enumerate(tar):
        odd = not (entry.isreg() or entry.isdir()) or entry.issparse()
        _check_entry(entry.name, odd, count, url)
        if entry.isreg():
            files[_plain_name(entry.name)] = lambda entry=entry: tar.extractfile(entry)  # type: ignore[misc, assignment]
    return files


def _plain_name(name: str) -> str:
    return name.removeprefix("./")


def _check_entry(name: str, odd: bool, count: int, url: str) -> None:
    """Raises DownloadError for an entry that no bundle has."""
    if odd:
        raise DownloadError(f"{url} holds {name!r}, which is a link or no file. {_ASK}")
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        raise DownloadError(f"{url} holds the name {name!r}, which leads out of the bundle. {_ASK}")
    if count >= MOST_ENTRIES:
        raise DownloadError(f"{url} holds more than {MOST_ENTRIES:,} files: that is no bundle.")
