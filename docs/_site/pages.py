"""MkDocs hook: the pages at the top of the repository are pages of the site, too, read where they stand.

Links are written as a reader of the files follows them (`docs/records.md`, `../BUILD.md`); here they are turned to
where the page is on the site. What they point to beyond the pages and pictures stays as it is, and mkdocs, which is
strict, refuses it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "BUILD.md": "building.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(TOP / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    written = {there: name for name, there in PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def site_path(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written), link[1]))
        if target in PAGES:
            return PAGES[target]
        return target.removeprefix("docs/") if target.startswith("docs/") else link[1]

    return _LINK.sub(site_path, markdown)
