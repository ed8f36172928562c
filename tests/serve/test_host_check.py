"""Host and origin checks: no other name is answered on loopback (DNS rebinding), nor a form of another site's page."""

from __future__ import annotations

import httpx
import pytest

from dr_edge.serve.startup import allowed_hosts

STRANGE = ["rebound.test", "localhost.rebound.test", "127.0.0.1.rebound.test:80", "192.0.2.7", "", "[", "www.localhost"]
NO_NAMES = ["https://clinic.test", "clinic.test:443", "clinic.test/", "c*.test", "**", "*clinic.test", "", " "]


@pytest.mark.parametrize("host", STRANGE)
def test_another_name_is_not_answered_on_loopback(server, host):
    response = httpx.get(f"{server.url}/v1/bundle", headers={"host": host})
    assert response.status_code == 400 and response.text == "Invalid host header"
    assert response.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_the_names_of_this_computer_are(server, host):
    assert httpx.get(f"{server.url}/v1/bundle", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "SELF"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://elsewhere.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
    ],
)
def test_another_site_cannot_post(server, photograph, headers, status):
    given = {name: value.replace("SELF", server.url) for name, value in headers.items()}
    response = httpx.post(f"{server.url}/v1/predict", files={"image": photograph}, headers=given)
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["reason"] == "another site"


def test_names_can_be_added(start_server, bundle_dir):
    with start_server(bundle_dir, "--workers=1", "--allowed_hosts=clinic.test,*.eye.test") as running:
        statuses = [
            httpx.get(f"{running.url}/v1/bundle", headers={"host": host}).status_code
            for host in ("clinic.test:80", "a.eye.test", "other.test", "localhost")
        ]
    assert statuses == [200, 200, 400, 200]
    assert "It answers to localhost, 127.0.0.1, [::1], clinic.test, *.eye.test" in running.log.read_text()


def test_on_another_address_any_name_is_answered_unless_some_are_given():
    assert allowed_hosts("0.0.0.0", []) == ("*",) and allowed_hosts("127.0.0.1", ["*"]) == ("*",)
    assert "clinic.test" in allowed_hosts("0.0.0.0", ["Clinic.test"])
    assert set(allowed_hosts("127.0.0.9", [])) == {"localhost", "127.0.0.1", "[::1]", "127.0.0.9"}
    assert "[fd00::7]" in allowed_hosts("::1", ["fd00::7"]) and "[fd00::7]" in allowed_hosts("::1", ["[FD00::7]"])


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_would_never_match_is_no_name(name):
    with pytest.raises(ValueError, match=r"--allowed_hosts=.*without https:// and without a port"):
        allowed_hosts("127.0.0.1", [name])
