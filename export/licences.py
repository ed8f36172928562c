"""The licence of the weights, as whoever exports states it, in the terms of the Hugging Face hub.

Nothing is assumed: weights are a work of their own, and the code's licence does not say who may use them.
"""

from __future__ import annotations

import difflib
import re

UNKNOWN = "unknown"
# Those of the hub's table (hub documentation, "Licenses") that a model can have; UNKNOWN is one of them.
KNOWN = (
    UNKNOWN, "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigcode-openrail-m", "bigscience-bloom-rail-1.0",
    "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "creativeml-openrail-m", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "gfdl", "gpl", "gpl-2.0",
    "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa",
    "odbl", "odc-by", "ofl-1.1", "openrail", "openrail++", "osl-3.0", "pddl", "postgresql", "unlicense", "wtfpl",
    "zlib",
)  # fmt: skip


def stated(name: str, link: str | None) -> dict[str, str]:
    """Returns the licence as the keys of a model card: license, or license: other with license_name and license_link.

    Args:
      name: an identifier of the hub's table, in any case; or the name of another licence, which needs `link`.
      link: an https:// address, or LICENSE or LICENSE.md for a file of that name beside the card; None of a known one.

    Raises:
      ValueError: a name that is not known without a link, a link that is none, or a link of a known licence.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"export.settings.license takes a name, such as 'cc-by-4.0'. Received: {name!r}.")
    plain = re.sub(r"\s+", "-", name.strip().lower())
    if plain in KNOWN and link is None:
        return {"license": plain}
    if plain in KNOWN:
        raise ValueError(f"export.settings.license_link is for a licence of your own; {plain} is a known one.")
    if link is None or plain == "other":
        near = difflib.get_close_matches(plain, KNOWN, 1, 0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"export.settings.license = {name!r} is none that the Hugging Face hub knows.{hint} A licence of your own "
            "needs its name there, and export.settings.license_link: an https:// address, or 'LICENSE' for a file of "
            "that name that you put beside the card."
        )
    if not re.fullmatch(r"https://\S+|LICENSE(\.md)?", str(link)):
        raise ValueError(
            f"export.settings.license_link takes an https:// address, 'LICENSE' or 'LICENSE.md'. Received: {link!r}."
        )
    return {"license": "other", "license_name": plain, "license_link": str(link)}
