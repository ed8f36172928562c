"""Which files the arguments of `predict` stand for, and where its pictures go."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dr_edge import locks, metadata
from dr_edge.fundus.format_names import is_picture

# Of a directory also files of other names are taken, if they begin as pictures do: DICOM files often have no suffix.
SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    ".heic",
    ".heif",
    ".dcm",
    ".dicom",
)
NAMED = 5  # of what was passed over
_UNFINISHED = re.compile(r"\..+\.png\.[0-9a-f]{8}\.tmp")  # as metadata.write_bytes calls it


def expand(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Returns the files that files and directories stand for, in the order given; of a directory its pictures.

    A file that is named is taken whatever it is called; a name at which nothing stands is kept, so that it is listed
    with its reason.

    Returns:
      The files, and a sentence on each directory of which something was passed over.

    Raises:
      ValueError: no argument, or a directory without pictures.
    """
    if not arguments:
        raise ValueError(
            "No photograph was given. Name files or directories: python -m dr_edge.predict --bundle=BUNDLE PHOTO..."
        )
    paths: list[Path] = []
    notes: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if not path.is_dir():
            paths.append(path)
            continue
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        pictures = [entry for entry in entries if _is_taken(entry)]
        passed = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries if entry not in pictures]
        more = f" and {len(passed) - NAMED} more" if len(passed) > NAMED else ""
        said = f"{', '.join(passed[:NAMED])}{more}"
        if not pictures:
            there = f" It holds {said}." if passed else ""
            raise ValueError(f"{path} holds no pictures.{there} Name the files, or the directory that holds them.")
        if passed:
            notes.append(f"{path}: passed over {said} (subdirectories, or no pictures). Name them to have them read.")
        paths += pictures
    return paths, notes


def _is_taken(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() in SUFFIXES or is_picture(path))


def picture_name(path: Path, taken: set[str]) -> str:
    """Returns a file name for the overlay of `path` that is not in `taken` yet, and adds it there."""
    stem = metadata.safe_name(path.stem, "photograph")
    name, number = f"{stem}.png", 2
    while name.lower() in taken:  # some file systems do not tell A from a
        name, number = f"{stem}-{number}.png", number + 1
    taken.add(name.lower())
    return name


def _unfinished(directory: Path) -> list[Path]:
    """Returns what a command left that was killed at its first picture, where the directory holds nothing else."""
    entries = list(directory.iterdir()) if directory.is_dir() else []
    return entries if all(_UNFINISHED.fullmatch(entry.name) and entry.is_file() for entry in entries) else []


@contextlib.contextmanager
def new_directory(path: str | os.PathLike | None) -> Iterator[Path | None]:
    """Makes a directory for pictures, and in the end removes what it made where no picture came; yields None for None.

    Raises:
      FileExistsError: something stands there, and it is no empty directory.
      InUse: another process writes there now.
    """
    if path is None:
        yield None
        return
    directory = Path(path)
    if not _unfinished(directory):
        metadata.check_new(directory)
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with locks.held(directory, flag="--overlay") as lock:
            for left in _unfinished(directory) if lock.held else []:
                left.unlink()
            metadata.check_new(directory)
            yield directory
    finally:
        for place in made:
            if any(place.iterdir()):
                break
            place.rmdir()
