"""Whose requests are answered: no other name on loopback (DNS rebinding), no form that another site's page sends."""

from __future__ import annotations

import httpx
import pytest

from dr_edge.serve import callers


@pytest.mark.parametrize("host", ["rebound.test", "localhost.rebound.test", "127.0.0.1.rebound.test:80", "192.0.2.7", "", "["])
def test_another_name_is_not_answered_on_loopback(server, host):
    response = httpx.get(f"{server.url}/v1/bundle", headers={"host": host})
    assert response.status_code == 403 and response.json()["error"]["reason"] == "unknown host"
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
    with start_server(bundle_dir, "--workers=1", "--allowed_hosts=clinic.test,eye.test") as running:
        statuses = [
            httpx.get(f"{running.url}/v1/bundle", headers={"host": host}).status_code
            for host in ("clinic.test:80", "eye.test", "other.test", "localhost")
        ]
    assert statuses == [200, 200, 403, 200]


def test_on_another_address_any_name_is_answered_unless_some_are_given():
    assert callers.hosts_for("0.0.0.0", False, ()) is None and callers.hosts_for("127.0.0.1", True, ("*",)) is None
    assert "clinic.test" in callers.hosts_for("0.0.0.0", False, ("Clinic.test",))
    assert set(callers.hosts_for("127.0.0.9", True, ())) == {"localhost", "127.0.0.1", "::1", "127.0.0.9"}
