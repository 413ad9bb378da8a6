"""Settings of hive.yaml that only a whole daemon can show."""

from __future__ import annotations

import re
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.fakes.daemon_process import SECONDS, Place
from tests.fakes.tcp_port import tcp_port

_LITELLM = re.compile(r"^import time:.*\|\s*litellm\b", re.MULTILINE)


def test_an_entry_point_that_is_not_enabled_is_not_there(place: Place) -> None:
    folder = str(place.path / "agents" / "witness")
    place.write(agents=[{"path": folder, "entry_points": {"say": {"enabled": False}}}])
    place.start().ready()
    known = {each["address"] for each in place.get("/v1/entry-points")["items"]}
    assert "witness/work" in known
    assert "witness/say" not in known


def test_preload_imports_the_model_library(place: Place) -> None:
    place.write(agents=[str(place.path / "agents" / "witness")], llm={"preload": True})
    daemon = place.start(PYTHONPROFILEIMPORTTIME="1", WATCHDOG_USEC="400000").ready()
    # The log is looked at after each sign of life.
    place.manager.wait_until(
        lambda: _LITELLM.search(place.log) is not None, "the model library", 2 * SECONDS
    )
    assert daemon.terminate() == 0


def statuses(place: Place, **http: Any) -> dict[str, int]:
    """Return how a daemon so configured answers for each page on its TCP port, which a route keeps open."""
    route = {"source_id": "mail", "path": "/mail"}
    folder = str(place.path / "agents" / "witness")
    place.write(
        agents=[{"path": folder, "webhook_routes": [route]}],
        http={"listen": "127.0.0.1:0", **http},
    )
    place.start().ready()
    port, found = tcp_port(place), {}
    for path in ("/livez", "/readyz", "/metrics"):
        client = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        client.request("GET", path)
        found[path] = client.getresponse().status
        client.close()
    return found


@pytest.mark.parametrize(
    ("shown", "pages"),
    [({}, set()), ({"health": True}, {"/livez", "/readyz"}), ({"metrics": True}, {"/metrics"})],
    ids=["neither", "health", "metrics"],
)
def test_the_tcp_port_shows_the_pages_that_are_wanted(
    place: Place, shown: dict[str, bool], pages: set[str]
) -> None:
    answers = statuses(place, **shown)
    assert {path for path, status in answers.items() if status == 200} == pages
    assert set(answers.values()) <= {200, 404}
