"""The rooms import as docs/architecture.md says, and in no circle."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MAP = REPOSITORY / "docs" / "architecture.md"
TOP = ("dr_edge", "tfrecord_tools", "export", "android_bench")


def read_map() -> tuple[dict[str, str], dict[str, set[str]]]:
    """Returns path -> room, and room -> rooms that it may import."""
    rooms: dict[str, str] = {}
    arrows: dict[str, set[str]] = {}
    for line in MAP.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 4 or cells[0] in ("room", "---"):
            continue
        for path in re.findall(r"`([^`]+)`", cells[1]):
            assert path not in rooms, f"{path} stands in two rows"
            rooms[path] = cells[0]
        assert cells[0] not in arrows, f"{cells[0]} has two rows"
        arrows[cells[0]] = set(cells[3].split())
    return rooms, arrows


def modules() -> dict[str, str]:
    """Returns module -> path relative to the repository; packages' own files are empty and left out."""
    files = [path for top in TOP for path in (REPOSITORY / top).rglob("*.py") if path.name != "__init__.py"]
    relative = [path.relative_to(REPOSITORY) for path in files]
    return {".".join(path.with_suffix("").parts): path.as_posix() for path in relative}


def imported(path: str, known: dict[str, str]) -> set[str]:
    """Returns the modules of this project that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(known)


def room_of(path: str, rooms: dict[str, str]) -> str:
    fits = [place for place in rooms if path == place or (place.endswith("/") and path.startswith(place))]
    assert fits, f"{path} is in no room of {MAP.name}"
    return rooms[max(fits, key=len)]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], list[str]]:
    """(room, room) -> "file imports file"."""
    rooms, known = read_map()[0], modules()
    arrows: dict[tuple[str, str], list[str]] = {}
    for path in known.values():
        for name in imported(path, known):
            pair = room_of(path, rooms), room_of(known[name], rooms)
            if pair[0] != pair[1]:
                arrows.setdefault(pair, []).append(f"{path} imports {known[name]}")
    return arrows


def test_no_arrow_but_those_of_the_map(found):
    arrows = read_map()[1]
    odd = {pair: files for pair, files in found.items() if pair[1] not in arrows[pair[0]]}
    assert not odd, odd


def test_no_arrow_of_the_map_is_unused(found):
    listed = {(room, other) for room, others in read_map()[1].items() for other in others}
    assert not listed - set(found)


def test_the_map_names_places_that_exist_and_has_no_circle():
    rooms, arrows = read_map()
    assert len(arrows) > 30
    assert [path for path in rooms if not (REPOSITORY / path).exists()] == []
    assert not {other for others in arrows.values() for other in others} - set(arrows)
    list(graphlib.TopologicalSorter(arrows).static_order())


def test_nothing_imports_back_up_the_line(found):
    """photographs -> records -> run -> bundle -> bench: dr_edge knows no builder, exporter or bench, and so on."""
    top = {
        pair: {path.split("/")[0] for text in files for path in text.split(" imports ")}
        for pair, files in found.items()
    }
    crossing = {frozenset(tops) for tops in top.values() if len(tops) > 1}
    assert crossing <= {
        frozenset(pair)
        for pair in (
            ("tfrecord_tools", "dr_edge"),
            ("export", "dr_edge"),
            ("export", "tfrecord_tools"),
            ("android_bench", "dr_edge"),
        )
    }
    for files in found.values():
        assert not [
            text
            for text in files
            if text.startswith("dr_edge") and not text.split(" imports ")[1].startswith("dr_edge")
        ]


@pytest.mark.parametrize("module", ["fov", "image_header", "photograph"])
def test_what_is_imported_from_the_readers_of_photographs_is_defined_there(module):
    """What lies below them has its own file; through them a name came from two places."""
    module = f"dr_edge.fundus.{module}"
    tree = ast.parse((REPOSITORY / modules()[module]).read_text(encoding="utf-8"))
    # A constant is defined where it gets its value; `NAME = other.NAME` is a second place.
    values = [node for node in tree.body if isinstance(node, ast.Assign)]
    elsewhere = (ast.Name, ast.Attribute)
    names = {name.id for node in values if not isinstance(node.value, elsewhere) for name in node.targets}
    defined = names | {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    asked: dict[str, set[str]] = {}
    for path in (path for top in (*TOP, "tests") for path in (REPOSITORY / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == module:
                asked.setdefault(path.relative_to(REPOSITORY).as_posix(), set()).update(n.name for n in node.names)
    assert {path.split("/")[0] for path in asked} >= {"dr_edge", "tfrecord_tools"}
    assert not {path: found - defined for path, found in asked.items() if found - defined}
