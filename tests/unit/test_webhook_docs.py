"""docs/webhooks.md says what the code does."""

import re
from pathlib import Path

from hive_daemon.http.connection import MAX_HEAD
from hive_daemon.http.limits import BURST, MOST_CONNECTIONS, RESERVED_DESCRIPTORS, ListenerLimits
from hive_daemon.runtime.webhook_payload import DELIVERY_HEADERS, KEPT_HEADERS, MAX_NESTING
from hive_daemon.runtime.webhook_server import SIGNATURE_HEADER, WebhookRoute

PAGE = (Path(__file__).parent.parent.parent / "docs" / "webhooks.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S))


def first_cells(section: str) -> list[str]:
    return re.findall(r"^\| `?([^|`]+?)`? \|", SECTIONS[section], flags=re.M)


def test_the_headers_that_are_kept_are_listed() -> None:
    listed = {name.lower() for name in first_cells("The event")}
    assert listed >= KEPT_HEADERS
    assert {name for name in listed if "-" in name} - KEPT_HEADERS <= {"---"}


def test_the_headers_that_name_a_delivery_are_listed_in_their_order() -> None:
    listed = [name.lower() for name in first_cells("The same delivery again")]
    assert listed[-len(DELIVERY_HEADERS) :] == list(DELIVERY_HEADERS)


def test_the_keys_of_a_route_are_listed() -> None:
    assert set(first_cells("Routes")) >= set(WebhookRoute.__dataclass_fields__)


def test_the_signature_header_is_named() -> None:
    assert f"    {SIGNATURE_HEADER}: sha256=" in SECTIONS["The signature"]


def test_the_limits_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", SECTIONS["Limits"], flags=re.M))
    limits = ListenerLimits()
    assert [value for value in rows.values() if value.endswith(" s")] == [
        f"{seconds:.0f} s"
        for seconds in (limits.head_seconds, limits.body_seconds, limits.idle_seconds)
    ]
    assert rows["headers together"] == f"{MAX_HEAD // 1024} KiB"
    assert rows["body, as sent and unpacked"] == f"{limits.max_body // 2**20} MiB"
    enough = MOST_CONNECTIONS + BURST + RESERVED_DESCRIPTORS
    assert rows["open connections"].startswith(f"{MOST_CONNECTIONS}, or fewer")
    assert f"{enough} descriptors" in rows["open connections"]
    assert f"deeper than {MAX_NESTING} levels" in " ".join(SECTIONS["The event"].split())
