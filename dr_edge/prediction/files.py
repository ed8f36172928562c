"""Which files the arguments of `predict` stand for, and where its pictures go."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path


def expand(arguments: Sequence[str]) -> list[Path]:
    """Returns the files that files and directories stand for, in the order given; of a directory its files by name.

    A name at which nothing stands is kept, so that it is listed with its reason.

    Raises:
      ValueError: no argument, or a directory without files.
    """
    if not arguments:
        raise ValueError("No photograph was given. Name files or directories: python -m dr_edge.predict --bundle=BUNDLE PHOTO...")
    paths: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if not path.is_dir():
            paths.append(path)
            continue
        inside = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
        if not inside:
            raise ValueError(f"{path} holds no files. Name a directory that holds the photographs themselves.")
        paths += inside
    return paths


def picture_name(path: Path, taken: set[str]) -> str:
    """Returns a file name for the overlay of `path` that is not in `taken` yet, and adds it there."""
    stem = re.sub(r"[^\w.-]+", "_", path.stem).strip("._")[-80:] or "photograph"
    name, number = f"{stem}.png", 2
    while name.lower() in taken:  # some file systems do not tell A from a
        name, number = f"{stem}-{number}.png", number + 1
    taken.add(name.lower())
    return name


@contextlib.contextmanager
def new_directory(path: str | os.PathLike | None) -> Iterator[Path | None]:
    """Makes a directory for pictures, and in the end removes what it made where no picture came; yields None for None.

    Raises:
      FileExistsError: something stands there, and it is no empty directory.
    """
    if path is None:
        yield None
        return
    directory = Path(path)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists and is not empty. Remove it or write to another directory.")
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    finally:
        for place in made:
            if any(place.iterdir()):
                break
            place.rmdir()
