"""What a visitor of the page meets: a busy server, a decision against the likelier class, a release in mid-visit."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest
from page_actions import OFFLINE, SHOWN, grade, opened, python_answers, saved, show_heat
from page_browser import Browser
from resealed import reseal

pytestmark = pytest.mark.usefixtures("vendored")


def test_a_busy_server_blames_no_photograph(server, bundle_dir, browser, synthetic) -> None:
    tab = browser.open("about:blank")
    script = """window.Worker = class { constructor() { throw new Error('this browser has no workers'); } };
      window.down = true; window.asked = 0;
      const plain = window.fetch;
      window.fetch = (url, options) => {
        if (options?.method !== 'POST') return plain(url, options);
        window.asked++;
        if (!window.down) return plain(url, options);
        const error = {status: 503, reason: 'busy', message: 'Busy.'};
        return Promise.resolve(new Response(JSON.stringify({error}), {status: 503, headers: {'Retry-After': '0.2'}}));
      }"""
    tab.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    tab.go(server.url)
    tab.wait("!document.getElementById('consent').hidden")
    tab.run("document.getElementById('consent-yes').click()")
    tab.choose("#choose", synthetic[0], synthetic[1])
    tab.wait("document.querySelectorAll('.held button').length === 2")
    assert tab.run("window.asked") == 8
    shown = tab.run("document.querySelector('main').innerText")
    assert "cannot be read" not in shown and shown.count("the server is busy") == 2
    assert "not answered" in tab.run("document.getElementById('spoken').textContent")
    content = saved(tab)
    assert (content["complete"], content["photographs"], content["unreadable"], content["answers"]) == (False, 0, 0, [])
    tab.run("(() => { window.down = false; document.querySelector('.held button').click(); })()")
    tab.wait(SHOWN)
    assert tab.run("document.querySelectorAll('.held').length") == 1
    tab.run("document.querySelector('.held button').click()")
    answers = grade(tab)
    tab.wait("document.querySelectorAll('.held').length === 0")
    for answer, expected in zip(answers, python_answers(bundle_dir, synthetic[:2]), strict=True):
        assert answer["outputs"]["probabilities"] == pytest.approx(expected["outputs"]["probabilities"], abs=1e-5)
    tab.close()


def test_the_heat_map_says_whose_it_is(start_server, bundle_dir, tmp_path, browser, synthetic) -> None:
    (expected,) = python_answers(bundle_dir, [synthetic[0]])
    values = expected["outputs"]["probabilities"]
    unlikely = min(values, key=values.get)
    other = shutil.copytree(bundle_dir, tmp_path / "bundle")
    content = json.loads((other / "metadata.json").read_text())
    for point in content["operating_points"]:  # what is decided is the class that is less likely
        point["threshold"] = 0.0 if unlikely == content["task"]["class_names"][1] else 1.0
    reseal(other, content)
    with start_server(other, "--workers=1") as server, opened(browser, server.url) as tab:
        (answer,) = grade(tab, synthetic[0])
        assert answer["decision"]["class_name"] == unlikely
        tab.wait(SHOWN)
        said = tab.run("document.querySelectorAll('figcaption')[1].innerText")
        if answer["decision"][
            "positive"
        ]:  # a disease was decided below one half: "no disease that was found" would contradict the answer
            assert f"the likeliest class, not for “{unlikely}”." in said
        else:
            assert "No heat map: it would speak for no disease that was found." in said
        show_heat(tab)
        caption = tab.run("document.querySelectorAll('figcaption')[1].innerText")
        assert f"(likelier), not of {unlikely}" in caption and "Grad-CAM of" in caption


def test_a_visit_is_served_out_of_one_release(start_server, bundle_dir, chromium, tmp_path, synthetic) -> None:
    """The server's scripts change while a page is open: it keeps its own, the next visit has all new ones."""
    from dr_edge.serve import assets

    static = shutil.copytree(assets.STATIC, tmp_path / "static")
    program = tmp_path / "release.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\nfrom absl import app\nfrom dr_edge.serve import assets\n"
        f"assets.Assets.__init__.__defaults__ = (Path({str(static)!r}),)\n"
        "from dr_edge.serve.__main__ import main\napp.run(main)\n"
    )
    names = "caches.keys().then((names) => names.filter((name) => name.startsWith('light:')).length)"
    with Browser(chromium) as browser, start_server(bundle_dir, "--workers=1", program=program) as server:
        tab = browser.open(server.url)
        tab.wait(OFFLINE)
        tab.go(server.url)  # from here on the service worker answers
        tab.wait(OFFLINE)
        assert tab.run(names) == 1
        for path in ("js/answer_words.js", "js/answer.js"):
            script = static / path
            script.write_text(script.read_text() + "\nexport const RELEASE = 2;\n")
        release = (
            "import('/static/js/{0}.js?x').catch(() => null).then(() => import('/static/js/{0}.js')).then((m) => "
            "m.RELEASE ?? 1)"
        )
        text = (
            "fetch('/static/js/answer.js', {cache: 'reload'}).then((r) => r.text()).then((t) => t.includes('RELEASE'))"
        )
        assert httpx.get(f"{server.url}/static/js/answer.js").text.count("RELEASE") == 1
        assert tab.run(text) is False  # the open page meets no script of the new release
        other = browser.open(server.url)
        other.wait(OFFLINE)
        assert other.run(text) is True and other.run(release.format("answer_words")) == 2 and other.run(names) == 2
        assert tab.run(text) is False
        (answer,) = grade(tab, synthetic[1])
        assert answer["status"] == "answered"
