"""Names inside Markdown, read by a Markdown parser: what is shown is the name, and nothing else is made of it."""

from __future__ import annotations

import itertools
import random

import pytest
from markdown_it import MarkdownIt

from dr_edge import markdown

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
STRANGE = [
    "a|b", "`a`", "a``b", "<b>a</b>", "<script>alert(1)</script>", "<!-- a", "[a](http://x)", "![a](http://x/y.png)",
    "[a]: http://x", "https://x.org/a", "www.x.org", "<https://x.org>", "me@x.org", "*a*", "**a**", "_a_", "__a__",
    "~~a~~", "a\\|b", "\\", "a\\", "&lt;", "&#60;b&#62;", "# a", "#", "- a", "-", "+ a", "1. a", "2) a", "> a", "---",
    "===", "```", "~~~", "a\nb", "a\n\n# b", "a\r\n---\r\nb", "  a", "$x$", "a_b_", "_", "=1", "a:b", "a\u2028# b",
    "|---|", "[x] a",
]  # fmt: skip
PLAIN = [
    "referable_dr",
    "DR grade 2",
    "Müller 眼",
    "-0.5",
    "10.2",
    "+7.0",
    "2.5 mm",
    "not-DR (0/1), 1.5 mm",
    "it's",
    "a.b-c",
    "50 %",
    "model.static_int8.tflite",
]


def shown(source: str) -> list[tuple[str, str]]:
    """Returns (kind, text) of what a parser finds in the inline parts of a text."""
    found = []
    for token in PARSER.parse(source):
        found += [(child.type, child.content) for child in token.children or []]
    return found


@pytest.mark.parametrize("text", STRANGE + PLAIN)
@pytest.mark.parametrize("before", ["- ", "# Model card: ", "", "| ", "- Task: "])
def test_a_name_is_shown_as_it_is(text, before):
    source = f"{before}{markdown.escaped(text)}"
    if before == "| ":
        source = f"| head |\n|---|\n{source} |"
    blocks = {token.type.removesuffix("_open").removesuffix("_close") for token in PARSER.parse(source)}
    usual = {"- ": {"bullet_list", "list_item", "paragraph"}, "# Model card: ": {"heading"}, "": {"paragraph"},
             "| ": {"table", "thead", "tbody", "tr", "th", "td"}}  # fmt: skip
    assert blocks - {"inline"} == usual.get(before, usual["- "]), source
    parts = [part for part in shown(source) if part != ("text", "head")]
    assert {kind for kind, _ in parts} <= {"text", "text_special"}, parts
    label = before.lstrip("-#| ")
    assert "".join(content for _, content in parts) == label + " ".join(text.split())
    assert "://" not in source and "www." not in source.lower() and "@" not in source


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_name_stays_readable_in_the_source(text):
    assert markdown.escaped(text) == text


def test_no_combination_of_signs_gets_through():
    rng = random.Random(0)
    texts = ["".join(signs) for signs in itertools.product("`*_[]()<>|\\&;#-1. \na!:/", repeat=3)]
    for text in rng.sample(texts, 1500):
        source = f"- {markdown.escaped(text)}x"
        parts = shown(source)
        assert {kind for kind, _ in parts} <= {"text", "text_special"}, (text, parts)
        assert "".join(content for _, content in parts) == " ".join(text.split()) + "x", text
