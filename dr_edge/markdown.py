"""Names of strangers inside Markdown: shown letter by letter, never a table, a link, a heading or HTML.

Class names come from a user's table, a bundle's name from a directory, a phone's from the phone. Standard library only.
"""

from __future__ import annotations

import re

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# White space but the no-break space, which holds a unit to its number.
_BLANKS = re.compile(r"[ \t\r\n\v\f\x1c-\x1f\x85\u2028\u2029]+")
_ACTIVE = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")  # "_" between letters is a letter
# What would begin a heading or a list, or be a rule.
_FIRST = re.compile(r"^(?:(\d{1,9})(?=[.)](?: |$))|(?=#{1,6}(?: |$)|[-+](?: |$)|[-=:]+$))")
# Where no brackets are needed: https://..., www.... and addresses of e-mail become links by themselves.
_LINKS = ((re.compile(r":(?=//)"), "&#58;"), (re.compile(r"(?i)(?<=www)\."), "&#46;"), (re.compile(r"@"), "&#64;"))


def escaped(text: object) -> str:
    """Returns text for the middle of a line of Markdown, or a cell of its tables: what is shown is the text itself.

    Line ends and other white space are single blanks, since a line end would begin a block of its own.
    """
    found = _BLANKS.sub(" ", str(text)).strip(" ").replace("\0", "\ufffd")
    found = re.sub(r"[&<>]", lambda sign: _ENTITIES[sign[0]], found)
    found = _ACTIVE.sub(r"\\\g<0>", found)
    for pattern, entity in _LINKS:
        found = pattern.sub(entity, found)
    return _FIRST.sub(r"\1\\", found)
