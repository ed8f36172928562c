"""The page in headless Chromium against a running server: its answers are Python's, and it keeps what it promises."""

from __future__ import annotations

import json
import shutil

import httpx
import numpy as np
import pytest
from page_browser import Browser, Tab
from page_helpers import (
    OFFLINE,
    READY,
    SHOWN,
    compare,
    complaints,
    form,
    grade,
    opened,
    posts,
    predicted,
    python_answers,
    saved,
    show_heat,
)

pytestmark = pytest.mark.usefixtures("vendored")


def test_the_browser_answers_as_python_does(server, bundle_dir, browser, drawn) -> None:
    expected, before = python_answers(bundle_dir, drawn), posts(server)
    with opened(browser, server.url) as tab:
        answers = grade(tab, *drawn)
        assert [answer["file"] for answer in answers] == [file.name for file in drawn]
        for answer, other in zip(answers, expected, strict=True):
            compare(answer, other)
        given = [
            answer["outputs"]["probabilities"]["referable"] for answer in answers if answer["status"] == "answered"
        ]
        # Otherwise the comparison says nothing.
        assert len(given) >= 9 and max(given) - min(given) > 0.1
        found = {answer["status"] for answer in answers}
        assert found == {"answered", "too_poor_to_grade", "not_a_fundus_photograph", "unreadable"}
        assert complaints(tab) == []
        # The photograph never left the browser: the server received none, and nobody else was asked anything.
        assert posts(server) == before
        assert {request["method"] for request in tab.requests()} == {"GET"}
        assert all(request["url"].startswith((server.url, "blob:", "data:")) for request in tab.requests())


def test_what_is_saved_has_the_keys_of_predict(server, bundle_dir, browser, drawn) -> None:
    expected = predicted(bundle_dir, drawn)
    with opened(browser, server.url) as tab:
        grade(tab, *drawn)
        content = saved(tab)
    assert list(content) == list(expected)
    answers, others = content.pop("answers"), expected.pop("answers")
    assert content == expected and content["complete"] is True and content["unreadable"] == 2
    for answer, other in zip(answers, others, strict=True):
        assert form(answer) == form(other), answer["file"]


def test_the_answer_that_is_shown_is_of_the_photograph_that_came_last(server, browser, drawn) -> None:
    """One after the other, as with a camera: the answer of the one before must not stand beside the next."""
    with opened(browser, server.url, width=390, height=844) as tab:
        for count, file in enumerate(drawn[:3], start=1):
            grade(tab, file)
            tab.wait(f"document.querySelectorAll('.item').length === {count}")
            assert file.name in tab.wait(SHOWN) and tab.run(
                "document.querySelector('[aria-current=true]').innerText"
            ).endswith(file.name)
        tab.run("document.querySelectorAll('.item')[0].click()")
        tab.wait(f"document.getElementById('shown').innerText.includes('{drawn[0].name}')")


def test_disc_and_cup_are_those_of_python(page_mask_bundle, start_server, browser, drawn) -> None:
    files = [
        file for file in drawn if file.name in ("healthy.png", "severe.png", "moderate.jpg", "large.jpg", "black.png")
    ]
    expected = python_answers(page_mask_bundle, files)
    with start_server(page_mask_bundle, "--workers=1") as server, opened(browser, server.url) as tab:
        answers = grade(tab, *files)
        for answer, other in zip(answers, expected, strict=True):
            compare(answer, other)
            if other["status"] != "answered":
                continue
            for ours, theirs in zip(answer["masks"], other["masks"], strict=True):
                assert (ours["class_name"], ours["found"]) == (theirs["class_name"], theirs["found"])
                assert ours["height"] == pytest.approx(theirs["height"], rel=0.03, abs=1)
            assert answer["vcdr"] == pytest.approx(other["vcdr"], abs=0.02)
            (point,), (expected_point,) = answer["points"], other["points"]
            near = 0.02 * other["photograph"]["width"]
            assert point["class_name"] == "fovea" and point["x"] == pytest.approx(expected_point["x"], abs=near)
            assert point["y"] == pytest.approx(expected_point["y"], abs=near)
        assert len({answer.get("vcdr") for answer in answers} - {None}) >= 2
        shown = tab.wait(SHOWN)
        assert "Cup-to-disc ratio" in shown and "optic cup" in shown
        words = tab.run("document.querySelector('.card').innerText")
        assert "crosses at fovea" in words and "its centre is at x" in words
        pixels = """(() => { const canvas = document.querySelector('.frame.square canvas');
          const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return Array.from(data)
            .filter((_, i) => i % 4 === 0 && data[i + 1] < 140 && data[i] > 230 && data[i + 2] > 150).length; })()"""
        assert 50 < tab.run(pixels) < 400  # the pink of the third colour: a cross, and no outline
        assert complaints(tab) == []


def test_an_unusual_photograph_gets_no_answer(start_server, bundle_dir, tmp_path, browser, drawn) -> None:
    unusual = shutil.copytree(bundle_dir, tmp_path / "bundle")
    content = json.loads((unusual / "metadata.json").read_text())
    for entry in content["artifacts"].values():
        entry["ood"]["threshold"] = 1e-6
    (unusual / "metadata.json").write_text(json.dumps(content))
    with start_server(unusual, "--workers=1") as server, opened(browser, server.url) as tab:
        (answer,) = grade(tab, drawn[0])
        assert answer["status"] == "out_of_distribution" and answer["decision"] is None
        assert "Unlike what the model knows" in tab.wait(SHOWN)


def test_files_that_the_server_lacks_are_not_blamed_on_the_browser(
    start_server, bundle_dir, browser, drawn, tmp_path
) -> None:
    from dr_edge.serve.assets import STATIC

    shutil.copytree(STATIC, tmp_path / "static", ignore=shutil.ignore_patterns("vendor"))
    program = tmp_path / "serve.py"
    program.write_text(
        "import pathlib, runpy\nfrom dr_edge.serve import assets\n"
        f"assets.Assets.__init__.__defaults__ = (pathlib.Path({str(tmp_path / 'static')!r}),)\n"
        "runpy.run_module('dr_edge.serve', run_name='__main__', alter_sys=True)\n"
    )
    with start_server(bundle_dir, "--workers=1", program=program) as server:
        tab = browser.open(server.url, 390, 844)
        tab.wait("!document.getElementById('consent').hidden")
        words = tab.run("document.getElementById('consent').innerText")
        assert (
            "This server lacks the files" in words
            and "python -m dr_edge.serve.vendor" in words
            and "sent to that server" in words
        )
        assert "browser cannot" not in tab.run("document.body.innerText").lower()


def test_photographs_are_sent_only_after_consent(server, bundle_dir, browser, drawn) -> None:
    before = posts(server)
    tab = browser.open("about:blank", 390, 844, touch=True)
    script = "window.Worker = class { constructor() { throw new Error('this browser has no workers'); } }"
    tab.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    tab.go(server.url)
    tab.wait("!document.getElementById('consent').hidden")
    words = tab.run("document.getElementById('consent').innerText")
    assert "cannot run the model itself" in words and "sent to that server" in words and server.url[7:] in words
    tab.choose("#choose", drawn[0])
    tab.wait("document.querySelectorAll('.item').length === 1")
    tab.run("new Promise((resolve) => setTimeout(resolve, 500))")
    assert posts(server) == before  # chosen, and not sent
    assert (
        tab.run("document.querySelector('.item-said').textContent") == "not sent, see above…"
    )  # no model is on its way
    tab.run("document.getElementById('consent-yes').click()")
    (answer,) = grade(tab)
    assert posts(server) == before + 1
    expected = predicted(bundle_dir, [drawn[0]])
    content = saved(tab)
    assert list(content) == list(expected) and content["bundle"] == expected["bundle"]
    (expected,) = expected["answers"]
    assert form(answer) == form(expected)
    assert answer["outputs"]["probabilities"] == pytest.approx(expected["outputs"]["probabilities"], abs=1e-5)
    assert "to which the photograph was sent" in tab.wait(SHOWN)
    assert "are sent to" in tab.run("document.getElementById('privacy').innerText")
    assert tab.run("document.querySelectorAll('#shown canvas').length") >= 2  # the pictures came back as well
    tab.close()


def test_it_works_with_the_server_stopped(start_server, bundle_dir, chromium, drawn) -> None:
    with Browser(chromium) as browser:
        with start_server(bundle_dir, "--workers=1") as server:
            tab = browser.open(server.url)
            tab.wait(OFFLINE)
            (online,) = grade(tab, drawn[1])
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url)
        tab.go(server.url)
        tab.wait(READY)
        (offline,) = grade(tab, drawn[1])
        assert offline["outputs"] == online["outputs"] and offline["crop"] == online["crop"]
        errors = tab.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []


def test_plain_http_from_another_computer_is_enough(start_server, bundle_dir, chromium, drawn) -> None:
    with start_server(bundle_dir, "--workers=1", "--allowed_hosts=clinic.test") as server:
        answers_by_another_name(server, bundle_dir, chromium, drawn)


def answers_by_another_name(server, bundle_dir, chromium, drawn) -> None:
    # Such a page is no secure context: no service worker, no crypto.subtle, and still nothing needs to be sent.
    before = posts(server)
    with Browser(chromium, ("--host-resolver-rules=MAP clinic.test 127.0.0.1",)) as browser:
        tab = browser.open(f"http://clinic.test:{server.port}")
        assert tab.run("isSecureContext") is False
        (answer,) = grade(tab, drawn[1])
        compare(answer, python_answers(bundle_dir, [drawn[1]])[0])
        assert answer["status"] == "answered" and posts(server) == before


@pytest.mark.slow
def test_another_bundle_replaces_what_was_kept(start_server, bundle_dir, page_mask_bundle, chromium) -> None:
    names = "caches.keys().then((names) => names.sort())"
    with Browser(chromium) as browser:
        with start_server(bundle_dir, "--workers=1") as server:
            tab = browser.open(server.url)
            tab.wait(OFFLINE)
            first = tab.run(names)
        assert len(first) == 2
        with start_server(page_mask_bundle, "--workers=1", port=server.port):
            tab.go(server.url)
            tab.wait(OFFLINE)
            assert "optic disc" in tab.run("document.getElementById('question').textContent")
            second = tab.wait(f"{names}.then((names) => names.length === 2 && names)")
        assert not set(first) & set(second)


@pytest.mark.parametrize(("width", "height", "touch"), [(390, 844, True), (1280, 800, False)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hangs_over_the_edge(server, browser, drawn, width, height, touch, scheme) -> None:
    with opened(browser, server.url, width=width, height=height, scheme=scheme, touch=touch) as tab:
        chosen = [file for file in drawn if file.name in ("severe.png", "blurred.png", "letter.png")]
        grade(tab, *chosen)
        tab.wait(SHOWN)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        too_wide = """[...document.querySelectorAll('body *')]
          .filter((e) => e.getClientRects().length && !e.closest('.list, .unseen, .skip')
            && (e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1))
          .map((e) => e.outerHTML.slice(0, 80))"""
        assert tab.run(too_wide) == []
        assert min(contrasts(tab)) >= 4.5
        assert "Not a medical device" in tab.run("document.querySelector('footer').innerText")


def contrasts(tab: Tab) -> list[float]:
    """Returns the contrast ratio (WCAG 2.2) of every piece of text that is seen against what lies behind it."""
    return tab.run("""(() => {
      const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
      const luminance = ([r, g, b]) => [r, g, b]
        .map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
          const colour = parse(getComputedStyle(e).backgroundColor);
          if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
      };
      const found = [];
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        if (element.closest('.unseen, .skip, noscript, option')) continue;
        const both = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
        const [high, low] = both.sort((a, b) => b - a);
        found.push((high + 0.05) / (low + 0.05));
      }
      return found;
    })()""")


def test_it_is_used_by_keyboard_and_read_aloud(server, browser, drawn) -> None:
    with opened(browser, server.url) as tab:
        grade(tab, drawn[0], drawn[1])
        tab.wait(SHOWN)
        assert tab.run("document.getElementById('spoken').getAttribute('aria-live')") == "polite"
        assert tab.run("document.getElementById('spoken').textContent").startswith(drawn[1].name)
        reached = []
        tab.run("document.body.focus()")
        for _ in range(12):
            tab.press("Tab", 9)
            reached.append(
                tab.run(
                    "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
                )
            )
        assert {"choose", "take", "save", "clear", "item", "label"} <= set(reached)
        tab.run("document.querySelectorAll('.item')[1].focus()")
        tab.press("Enter", 13)
        tab.wait(f"document.querySelector('.verdict-file').textContent === '{drawn[1].name}'")
        assert tab.run("document.querySelectorAll('.item')[1].getAttribute('aria-current')") == "true"
        nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
        controls = [
            n for n in nodes if n.get("role", {}).get("value") in ("button", "link", "slider", "combobox", "image")
        ]
        assert len(controls) >= 8
        assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []


def test_slider_and_label_change_what_is_shown(server, browser, drawn) -> None:
    pixels = """(() => { const canvas = document.querySelector('.frame.square canvas');
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return Array.from(data.filter((_, i) => i % 997 === 0)); })()"""
    with opened(browser, server.url) as tab:
        (answer,) = grade(tab, drawn[1])
        tab.wait(SHOWN)
        show_heat(tab)
        over = np.array(tab.run(pixels))
        tab.run(
            "(() => { const s = document.querySelector('.slider input'); s.value = 0; s.dispatchEvent(new "
            "Event('input')); })()"
        )
        plain = np.array(tab.run(pixels))
        assert np.abs(over - plain).max() > 20
        wrong = next(name for name in answer["outputs"]["probabilities"] if name != answer["decision"]["class_name"])
        for label, words in (
            (answer["decision"]["class_name"], "same as the answer"),
            (wrong, "differs from the answer"),
        ):
            tab.run(
                f"(() => {{ const s = document.getElementById('label'); s.value = {json.dumps(label)}; "
                "s.dispatchEvent(new Event('change')); })()"
            )
            assert tab.run("document.querySelector('.agrees').textContent") == words
        saved = grade(tab)
        assert saved[0]["label"] == {"given": wrong, "agrees": False}
        tab.run("document.getElementById('clear').click()")
        assert tab.run("document.querySelectorAll('.item').length") == 0
        assert not tab.run("document.getElementById('empty').hidden")
