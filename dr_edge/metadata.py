"""Manifests: what a directory of dr_edge says of itself, and how it comes to stand there whole.

Every stage writes one directory under a temporary name, its manifest last, and renames it. A directory with a readable
manifest is therefore complete; one without is somebody else's or was cut off. Standard library only, so that
`android_bench` and `predict` can read a bundle without importing TensorFlow.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dr_edge import durable, locks

# kind -> (file name, schema version, keys that must be there)
MANIFESTS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "dataset": ("dataset.json", 1, ("dataset", "image_size", "preprocess", "labels", "splits")),
    "run": ("run.json", 1, ("status", "task", "model", "records", "image_size", "preprocess", "best")),
    "reliability": ("reliability.json", 1, ("model_sha256", "dataset_sha256", "temperature", "ood", "files")),
    "evaluation": ("metrics.json", 1, ("split", "task", "metrics", "images")),
    "bundle": ("metadata.json", 1, ("task", "image_size", "preprocess", "inputs", "outputs", "artifacts", "files")),
    "parity": ("parity.json", 1, ("split", "images", "keras", "artifacts")),
    "bench": ("bench.json", 1, ("bundle", "target", "device", "rows")),
}

ARCHIVES = (".zip", ".tar", ".gz", ".tgz")  # that a directory may have been packed into
# What writes them, for those who point to a directory that is none.
WRITTEN_BY = {
    "dataset": "python -m tfrecord_tools.build",
    "run": "python -m dr_edge.train",
    "reliability": "python -m dr_edge.evaluate --run_dir=RUN (or python -m export)",
    "evaluation": "python -m dr_edge.evaluate --run_dir=RUN",
    "bundle": "python -m export --run_dir=RUN --out=BUNDLE",
    "parity": "python -m export --run_dir=RUN --out=BUNDLE",
    "bench": "python -m android_bench --bundle=BUNDLE --out=DIR",
}


class ManifestError(ValueError):
    """A manifest is missing, foreign, of another version or incomplete."""


def manifest_path(directory: str | os.PathLike, kind: str) -> Path:
    """Returns the path of the `kind` manifest ('dataset', 'run', 'bundle' ...) inside `directory`."""
    if kind not in MANIFESTS:
        raise ValueError(f"No manifest kind {kind!r}. Known: {', '.join(sorted(MANIFESTS))}.")
    return Path(directory) / MANIFESTS[kind][0]


def write_manifest(directory: str | os.PathLike, kind: str, content: Mapping[str, Any]) -> Path:
    """Writes the manifest of `kind` into `directory`, atomically, and returns its path.

    Args:
      directory: an existing directory.
      kind: a key of MANIFESTS.
      content: JSON-serialisable; must hold the kind's required keys. NaN and infinity are refused.

    Raises:
      ManifestError: a required key is missing.
      ValueError: a number is not finite.
    """
    path = manifest_path(directory, kind)
    _, version, required = MANIFESTS[kind]
    missing = [key for key in required if key not in content]
    if missing:
        raise ManifestError(f"{path}: a {kind} manifest needs {', '.join(missing)}, which the writer did not give.")
    durable.sync(directory)  # the names of what it speaks for
    write_json(path, {"schema": f"dr_edge.{kind}", "version": version, **content})
    durable.sync(directory)
    return path


def read_manifest(directory: str | os.PathLike, kind: str) -> dict[str, Any]:
    """Reads and checks the manifest of `kind` in `directory`; of a bundle, `dr_edge.bundle_files.read` checks more.

    Raises:
      ManifestError: missing, not JSON, of another kind or version, or incomplete; says what to do.
    """
    return parse_manifest(manifest_path(directory, kind), kind, manifest_bytes(directory, kind))


def manifest_bytes(directory: str | os.PathLike, kind: str) -> bytes:
    """Returns the bytes of the manifest of `kind` in `directory`; raises ManifestError where there is none."""
    path = manifest_path(directory, kind)
    if not path.parent.is_dir():
        raise ManifestError(
            f"{path.parent} is no directory. Expected one of the kind {kind!r}, which holds {path.name}. "
            f"{_instead_of(path.parent, path.name)}It is written by: {WRITTEN_BY[kind]}"
        )
    if not path.is_file():
        raise ManifestError(
            f"{path.parent} holds no {path.name}: it is unfinished or not a {kind} directory. "
            "Run the command that writes it again, or point to another directory. "
            f"It is written by: {WRITTEN_BY[kind]}"
        )
    return path.read_bytes()


def parse_manifest(path: Path, kind: str, data: bytes, strict: bool = False) -> dict[str, Any]:
    """Reads and checks the bytes of a manifest.

    Args:
      path: where they stand, for messages.
      kind: a key of MANIFESTS.
      data: the bytes.
      strict: refuse NaN, Infinity and a field that stands twice, which are no JSON or may mean two things.

    Raises:
      ManifestError: not JSON, of another kind or version, or incomplete; says what to do.
    """
    _, version, required = MANIFESTS[kind]
    try:
        hooks: dict[str, Any] = {"parse_constant": _no_number, "object_pairs_hook": _once} if strict else {}
        content = json.loads(data.decode("utf-8-sig"), **hooks)
    except (ValueError, RecursionError) as err:
        raise ManifestError(f"{path} is not valid JSON ({err}). Write the directory again.") from err
    if not isinstance(content, dict) or content.get("schema") != f"dr_edge.{kind}":
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ManifestError(f"{path}: expected schema 'dr_edge.{kind}', found {found!r}.")
    if content.get("version") != version:
        raise ManifestError(
            f"{path}: this release reads version {version} of {kind} manifests, found {content.get('version')!r}. "
            "Write the directory again with this release, or read it with the one that wrote it."
        )
    missing = [key for key in required if key not in content]
    if missing:
        raise ManifestError(f"{path}: {', '.join(missing)} missing. Write the directory again.")
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the fields of an object; raises ValueError where one stands twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return content


def _instead_of(file: Path, name: str) -> str:
    """Says what to give in place of a file, where that can be told; `name` is that of the manifest."""
    if file.is_file() and file.name == name:
        return "Give the directory that it stands in. "
    return "Unpack it, and give the directory. " if file.is_file() and file.suffix in ARCHIVES else ""


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes `content` as JSON under a temporary name and renames it to `path`. Refuses NaN and infinity."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    if any(
        "\ud800" <= sign <= "\udfff" for sign in text
    ):  # a path whose bytes are no UTF-8; escaped, it is read back as it was
        text = json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 `text` under a temporary name and renames it to `path`; what UTF-8 cannot hold stands escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes `data` under a temporary name, syncs it, and renames it to `path`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as err:  # a full disk names no file
        raise OSError(err.errno, err.strerror, str(path)) from err
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_directory(final: str | os.PathLike, flag: str | None = "--out") -> Iterator[Path]:
    """Yields a new directory beside `final`; on success it takes the name `final`, on failure it is removed.

    By then all that is in it is on the disk. One process at a time: the next one is told who writes there. What a
    killed process left is removed.

    Args:
      final: the directory to write.
      flag: of the command, which names it; None where it has none.

    Raises:
      FileExistsError: `final` stands there already (an empty directory is taken over).
      InUse: another process writes there now.
    """
    final = Path(final)
    check_new(final)
    with locks.held(final, flag=flag) as lock:
        check_new(final)  # the process before may have ended meanwhile
        if lock.held:
            remove_leftovers(final.parent, final.name)
        staging = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.tmp")
        staging.mkdir()
        try:
            yield staging
            durable.sync_tree(staging)
            if final.is_dir():
                final.rmdir()
            os.replace(staging, final)
            durable.sync(final.parent)
        finally:
            if staging.exists():
                shutil.rmtree(staging)


def check_new(final: str | os.PathLike) -> None:
    """Raises FileExistsError where something stands at `final` that is no empty directory."""
    final = Path(final)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise FileExistsError(f"{final} exists and is not empty. Remove it or write to another directory.")


def remove_leftovers(directory: str | os.PathLike, name: str | None = None) -> None:
    """Removes what killed processes left half-written in `directory`, files and directories; their lock must be held.

    Args:
      directory: an existing one.
      name: of what was being written; None: anything.
    """
    unfinished = re.compile(rf"\.{re.escape(name) if name else '.+'}\.[0-9a-f]{{8}}\.tmp")
    for path in Path(directory).iterdir():
        if not unfinished.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def safe_name(text: str, otherwise: str) -> str:
    """Returns `text` as a part of a file name: letters, digits, ".", "-" and "_" only, its last 100 bytes of UTF-8.

    File systems take 255 bytes, and endings and temporary names are added to it.

    Args:
      text: any name.
      otherwise: what it is called where nothing is left.
    """
    stem = re.sub(r"[^\w.-]+", "_", text).strip("._")
    return stem.encode("utf-8")[-100:].decode("utf-8", "ignore") or otherwise


def readable(name: str) -> str:
    """Returns a file name as text that UTF-8 and JSON can hold: bytes that are no UTF-8 stand as \\x.."""
    if not any("\ud800" <= sign <= "\udfff" for sign in name):
        return name
    signs = (f"\\x{ord(sign) - 0xDC00:02x}" if "\udc80" <= sign <= "\udcff" else sign for sign in name)
    return "".join(signs).encode("utf-8", "backslashreplace").decode("utf-8")


def sha256_file(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(directory: str | os.PathLike, files: Mapping[str, str]) -> None:
    """Checks that each file below `directory` has the SHA-256 that the manifest states.

    Args:
      directory: where the manifest stands.
      files: relative path -> SHA-256.

    Raises:
      ManifestError: a file is missing or differs; names the first one.
    """
    for name, expected in files.items():
        path = Path(directory) / name
        if not path.is_file():
            raise ManifestError(f"{path} is missing, although the manifest lists it. Write the directory again.")
        actual = sha256_file(path)
        if actual != expected:
            raise ManifestError(
                f"{path}: sha256 {actual[:12]}... differs from {expected[:12]}... in the manifest. "
                "The file was changed after it was written; copy or write the directory again."
            )


def finite_or_none(value: float | None) -> float | None:
    """Returns `value` as a float, or None where it is None, NaN or infinite (JSON has no NaN)."""
    return None if value is None or not math.isfinite(value) else float(value)
