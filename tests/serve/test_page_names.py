"""File names in any script, and such as would be markup or an escape, on the page: as they are, by either engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_actions import SHOWN, complaints, grade, opened, posts, saved

pytestmark = pytest.mark.usefixtures("vendored")
NAMES = ("ñ 眼 Müller%#.png", '<mark>it\'s & "50%25"</mark>.png'.replace("/", "∕"), "😀\u0301.png")
NO_WORKERS = "window.Worker = class { constructor() { throw new Error('this browser has no workers'); } }"
LISTED = "[...document.querySelectorAll('.item')].map((item) => item.innerText).join('\\n')"


@pytest.fixture(scope="module")
def named(synthetic: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Readable photographs, each called after one of NAMES."""
    directory = tmp_path_factory.mktemp("names")
    return [Path(shutil.copyfile(file, directory / name)) for file, name in zip(synthetic, NAMES, strict=False)]


@pytest.mark.parametrize("sent", [False, True])
def test_a_name_is_shown_and_saved_as_it_is(server, browser, named, sent):
    before = posts(server)
    with opened(browser, "about:blank") as tab:
        if sent:
            tab.send("Page.addScriptToEvaluateOnNewDocument", {"source": NO_WORKERS})
        tab.go(server.url)
        if sent:
            tab.wait("!document.getElementById('consent').hidden")
            tab.run("document.getElementById('consent-yes').click()")
        grade(tab, *named)
        assert posts(server) == before + (len(named) if sent else 0)
        assert sorted(answer["file"] for answer in saved(tab)["answers"]) == sorted(NAMES)
        assert {answer["status"] for answer in saved(tab)["answers"]} == {"answered"}
        listed = tab.run(LISTED)
        assert [name for name in NAMES if name not in listed] == []
        assert any(name in tab.wait(SHOWN) for name in NAMES)
        assert tab.run("document.querySelectorAll('.item mark, #shown mark').length") == 0 and complaints(tab) == []
