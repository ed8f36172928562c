"""The page in headless Chromium against a running server: its answers are Python's, and it keeps what it promises."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest
from earlier import without_quality
from page_actions import (
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
)
from page_browser import Browser
from resealed import reseal

pytestmark = pytest.mark.usefixtures("vendored")


def test_the_browser_answers_as_python_does(server, bundle_dir, browser, synthetic) -> None:
    expected, before = python_answers(bundle_dir, synthetic), posts(server)
    with opened(browser, server.url) as tab:
        answers = grade(tab, *synthetic)
        assert [answer["file"] for answer in answers] == [file.name for file in synthetic]
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


def test_what_is_saved_has_the_keys_of_predict(server, bundle_dir, browser, synthetic) -> None:
    expected = predicted(bundle_dir, synthetic)
    with opened(browser, server.url) as tab:
        grade(tab, *synthetic)
        content = saved(tab)
    assert list(content) == list(expected)
    answers, others = content.pop("answers"), expected.pop("answers")
    assert content == expected and content["complete"] is True and content["unreadable"] == 2
    for answer, other in zip(answers, others, strict=True):
        assert form(answer) == form(other), answer["file"]


def test_the_answer_that_is_shown_is_of_the_photograph_that_came_last(server, browser, synthetic) -> None:
    """One after the other, as with a camera: the answer of the one before must not stand beside the next."""
    with opened(browser, server.url, width=390, height=844) as tab:
        for count, file in enumerate(synthetic[:3], start=1):
            grade(tab, file)
            tab.wait(f"document.querySelectorAll('.item').length === {count}")
            assert file.name in tab.wait(SHOWN) and tab.run(
                "document.querySelector('[aria-current=true]').innerText"
            ).endswith(file.name)
        tab.run("document.querySelectorAll('.item')[0].click()")
        tab.wait(f"document.getElementById('shown').innerText.includes('{synthetic[0].name}')")


def test_disc_and_cup_are_those_of_python(page_mask_bundle, start_server, browser, synthetic) -> None:
    files = [
        file
        for file in synthetic
        if file.name in ("healthy.png", "severe.png", "moderate.jpg", "large.jpg", "black.png")
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


def test_an_unusual_photograph_gets_no_answer(start_server, bundle_dir, tmp_path, browser, synthetic) -> None:
    unusual = shutil.copytree(bundle_dir, tmp_path / "bundle")
    content = json.loads((unusual / "metadata.json").read_text())
    for entry in content["artifacts"].values():
        entry["ood"]["threshold"] = 1e-6
    reseal(unusual, content)
    with start_server(unusual, "--workers=1") as server, opened(browser, server.url) as tab:
        (answer,) = grade(tab, synthetic[0])
        assert answer["status"] == "out_of_distribution" and answer["decision"] is None
        assert "Unlike what the model knows" in tab.wait(SHOWN)


def test_files_that_the_server_lacks_are_not_blamed_on_the_browser(
    start_server, bundle_dir, browser, synthetic, tmp_path
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


def test_a_bundle_of_an_earlier_release_is_answered_by_the_server_alone(
    start_server, bundle_dir, browser, synthetic, tmp_path
) -> None:
    """Its model does not measure the quality, which the page cannot do either; Python can."""
    earlier = without_quality(bundle_dir, tmp_path / "bundle")
    with start_server(earlier, "--workers=1") as server:
        tab = browser.open(server.url, 390, 844)
        tab.wait("!document.getElementById('consent').hidden")
        words = tab.run("document.getElementById('consent').innerText")
        assert "The model of this server must be exported again to run in a browser" in words
        assert "an earlier release exported it; export it again" in words and "sent to that server" in words
        assert "browser cannot" not in tab.run("document.body.innerText").lower()
        tab.choose("#choose", synthetic[0])
        tab.wait("document.querySelectorAll('.item').length === 1")
        assert posts(server) == 0
        tab.run("document.getElementById('consent-yes').click()")
        (answer,) = grade(tab)
        (expected,) = predicted(earlier, [synthetic[0]])["answers"]
        assert answer["quality"] == expected["quality"] and form(answer) == form(expected)


def test_photographs_are_sent_only_after_consent(server, bundle_dir, browser, synthetic) -> None:
    before = posts(server)
    tab = browser.open("about:blank", 390, 844, touch=True)
    script = "window.Worker = class { constructor() { throw new Error('this browser has no workers'); } }"
    tab.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    tab.go(server.url)
    tab.wait("!document.getElementById('consent').hidden")
    words = tab.run("document.getElementById('consent').innerText")
    assert "cannot run the model itself" in words and "sent to that server" in words and server.url[7:] in words
    tab.choose("#choose", synthetic[0])
    tab.wait("document.querySelectorAll('.item').length === 1")
    tab.run("new Promise((resolve) => setTimeout(resolve, 500))")
    assert posts(server) == before  # chosen, and not sent
    # No model is on its way.
    assert tab.run("document.querySelector('.item-said').textContent") == "not sent, see above…"
    tab.run("document.getElementById('consent-yes').click()")
    (answer,) = grade(tab)
    assert posts(server) == before + 1
    expected = predicted(bundle_dir, [synthetic[0]])
    content = saved(tab)
    assert list(content) == list(expected) and content["bundle"] == expected["bundle"]
    (expected,) = expected["answers"]
    assert form(answer) == form(expected)
    assert answer["outputs"]["probabilities"] == pytest.approx(expected["outputs"]["probabilities"], abs=1e-5)
    assert "to which the photograph was sent" in tab.wait(SHOWN)
    assert "are sent to" in tab.run("document.getElementById('privacy').innerText")
    assert tab.run("document.querySelectorAll('#shown canvas').length") >= 2  # the pictures came back as well
    tab.close()


def test_it_works_with_the_server_stopped(start_server, bundle_dir, chromium, synthetic) -> None:
    with Browser(chromium) as browser:
        with start_server(bundle_dir, "--workers=1") as server:
            tab = browser.open(server.url)
            tab.wait(OFFLINE)
            (online,) = grade(tab, synthetic[1])
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url)
        tab.go(server.url)
        tab.wait(READY)
        (offline,) = grade(tab, synthetic[1])
        assert offline["outputs"] == online["outputs"] and offline["crop"] == online["crop"]
        errors = tab.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []


def test_plain_http_from_another_computer_is_enough(start_server, bundle_dir, chromium, synthetic) -> None:
    with start_server(bundle_dir, "--workers=1", "--allowed_hosts=clinic.test") as server:
        answers_by_another_name(server, bundle_dir, chromium, synthetic)


def answers_by_another_name(server, bundle_dir, chromium, synthetic) -> None:
    # Such a page is no secure context: no service worker, no crypto.subtle, and still nothing needs to be sent.
    before = posts(server)
    with Browser(chromium, ("--host-resolver-rules=MAP clinic.test 127.0.0.1",)) as browser:
        tab = browser.open(f"http://clinic.test:{server.port}")
        assert tab.run("isSecureContext") is False
        (answer,) = grade(tab, synthetic[1])
        compare(answer, python_answers(bundle_dir, [synthetic[1]])[0])
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
            tab.go(server.url)
            tab.wait(OFFLINE)
            assert tab.run(names) == second  # nothing has changed, also where the bundle has no bundle.sha256
        assert not set(first) & set(second)
        with start_server(bundle_dir, "--workers=1", port=server.port):
            tab.go(server.url)
            tab.wait(OFFLINE)
            assert "diabetic retinopathy" in tab.run("document.getElementById('question').textContent")
