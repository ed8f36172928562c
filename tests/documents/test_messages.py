"""The symptoms of docs/troubleshooting.md are in the words of the messages: who searches for one finds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from snippets import REPOSITORY

CODE = ("dr_edge", "tfrecord_tools", "export", "android_bench")
# Put together as the program runs, or said by a library: what stands in the code.
COMPOSED = {
    "Could not make .venv": "Could not make $(VENV)",
    "Not told from guessing": "Not told from \0",
    "is being written by process": "is being \0 by \0",
    "is being trained by": "is being \0 by \0",
    "The loss became nan": "The loss became \0",
    "it takes True or False": "True or False",
    "it takes a whole number": "a whole number",
    "Invalid host header": "allowed_hosts",
    "is offline": "Device \0 is \0. Unlock it, connect it again",
}
PLACEHOLDER = re.compile(r"\.\.\.|\bN\b|\bHOST\b|'\w+'|\d+x\d+|\bn of 2000\b")


def texts() -> str:
    """All texts that the programs hold, those of one expression joined as the interpreter joins them."""
    others = [
        *(REPOSITORY / "dr_edge" / "serve" / "static" / "js").rglob("*.js"),
        *(REPOSITORY / "dr_edge").rglob("*.j2"),
    ]
    found = [path.read_text(encoding="utf-8") for path in [REPOSITORY / "Makefile", *others]]
    for path in (path for top in CODE for path in (REPOSITORY / top).rglob("*.py")):
        found += [text for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if (text := text_of(node))]
    return "\n".join(found)


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return ""


def messages(page: Path) -> list[str]:
    """What the headings quote: in a code span, or between quotation marks."""
    headings = re.findall(r"(?m)^### (.+)$", page.read_text(encoding="utf-8"))
    return [
        quoted
        for heading in headings
        for pair in re.findall(r"`([^`]+)`|\"([^\"]+)\"", heading)
        for quoted in pair
        if quoted
    ]


def test_the_programs_say_what_the_page_quotes() -> None:
    said = texts()
    quoted = messages(REPOSITORY / "docs" / "troubleshooting.md")
    assert len(quoted) > 30
    fragments = {part.strip(" :;,") for message in quoted for part in PLACEHOLDER.split(message)}
    unsaid = sorted(part for part in fragments if len(part) > 3 and COMPOSED.get(part, part) not in said)
    assert not unsaid, "\n".join(unsaid)


def test_the_bench_says_what_its_page_quotes() -> None:
    """The table "`android_bench` says | what to do" of docs/phone.md."""
    page = (REPOSITORY / "docs" / "phone.md").read_text(encoding="utf-8")
    table = re.search(r"(?m)^\| `[\w -]+` says \|.*\n\|[ -|]+\n((?:\|.*\n)+)", page)
    quoted = [row.split("|")[1].strip() for row in table[1].splitlines()]
    assert len(quoted) == 8
    said = texts()
    assert not [message for message in quoted if COMPOSED.get(message, message) not in said]
