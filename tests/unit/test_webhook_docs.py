"""docs/webhooks.md says what the code does."""

import re
from pathlib import Path

import pytest
import yaml

from hive_daemon.http.connection import MAX_HEAD
from hive_daemon.http.limits import BURST, MOST_CONNECTIONS, RESERVED_DESCRIPTORS, ListenerLimits
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.graph_host import trigger_problems
from hive_daemon.runtime.intake import DEDUPE_SECONDS
from hive_daemon.runtime.webhook_delivery import UNNAMED_SECONDS, Outcome
from hive_daemon.runtime.webhook_desk import KEPT_SECONDS, RETRY_SECONDS
from hive_daemon.runtime.webhook_filters import CONDITIONS, MAX_MATCHED
from hive_daemon.runtime.webhook_payload import DELIVERY_HEADERS, KEPT_HEADERS, MAX_NESTING
from hive_daemon.runtime.webhook_route import (
    DEDUPE,
    KEYS,
    MAX_BODY,
    MOST_SECRETS,
    WebhookRoute,
    read_duration,
    read_size,
    route_of,
)
from hive_daemon.runtime.webhook_schemes import GITHUB_HEADER, HmacShape, Verify
from hive_daemon.runtime.webhook_server import WAIT_SECONDS
from hive_daemon.storage.webhook_deliveries import DeliveryStatus

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


def rows(section: str) -> list[list[str]]:
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        for line in SECTIONS[section].splitlines()
        if line.startswith("| `")
    ]


def test_the_keys_of_a_route_are_listed_and_no_others() -> None:
    assert [row[0] for row in rows("Routes")] == list(KEYS)


def test_the_defaults_are_those_of_the_code() -> None:
    plain = {row[0]: row[1] for row in rows("Routes")}
    route = WebhookRoute("x", "/x")
    assert plain["methods"] == f"[{', '.join(route.methods)}]"
    assert plain["tolerance"] == route.tolerance
    assert plain["respond"] == route.respond
    assert read_size(plain["max_body"]) == ListenerLimits().max_body
    assert read_duration(plain["read_timeout"]) == ListenerLimits().body_seconds
    nothing = [key for key, default in plain.items() if default == "none"]
    assert all(not getattr(route, key) for key in nothing)


def test_the_hmac_default_is_that_of_the_code() -> None:
    shape = HmacShape()
    written = f"{{header: {shape.header}, digest: {shape.digest}, encoding: {shape.encoding}"
    assert written in SECTIONS["Routes"]


def test_the_schemes_are_listed_with_what_names_their_deliveries() -> None:
    listed = {row[0]: row[3] for row in rows("Proof")}
    assert list(listed) == list(Verify)
    for scheme, places in DEDUPE.items():
        [*_, name] = places[0].steps
        assert listed[scheme].removeprefix("$.").lower() == name
    assert {scheme for scheme in Verify if listed[scheme] == "see below"} == set(Verify) - set(
        DEDUPE
    )


def test_the_conditions_of_filters_are_listed() -> None:
    listed = [row[0] for row in rows("Filters, input and places")]
    assert listed == list(CONDITIONS)
    assert f"{MAX_MATCHED:,} characters" in SECTIONS["Filters, input and places"]


def test_what_becomes_of_a_delivery_is_listed() -> None:
    assert [row[0] for row in rows("Deliveries")] == list(DeliveryStatus)
    assert [row[0] for row in rows("Answers")] == list(Outcome)


def test_the_times_of_the_code_are_named() -> None:
    again = " ".join(SECTIONS["The same delivery again"].split())
    assert f"within {DEDUPE_SECONDS / 86_400:.0f} days" in again
    assert f"for {UNNAMED_SECONDS / 60:.0f} minutes" in again
    assert f"kept for {KEPT_SECONDS / 86_400:.0f} days" in SECTIONS["Deliveries"]
    assert f"every {RETRY_SECONDS:.0f} s" in SECTIONS["Bursts"]
    assert f"at most {WAIT_SECONDS:.0f} s later" in SECTIONS["Routes"]
    assert f"at most {MOST_SECRETS}, " in SECTIONS["Routes"]
    assert f"`{MAX_BODY // 2**20}MiB`" in SECTIONS["Routes"]


def test_the_signature_header_is_named() -> None:
    assert f"| `github` | `{GITHUB_HEADER}` | `sha256=`" in SECTIONS["Proof"]


@pytest.mark.parametrize("sample", re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S))
def test_the_samples_are_valid(sample: str) -> None:
    for agent in yaml.safe_load(sample)["agents"]:
        for written in agent.get("webhook_routes", ()):
            route_of(written)
        for name, keys in agent.get("entry_points", {}).items():
            assert trigger_problems(EntryPointSpec(id=name, **keys)) == []


def test_the_limits_are_those_of_the_code() -> None:
    table = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", SECTIONS["Limits"], flags=re.M))
    limits = ListenerLimits()
    assert [value for value in table.values() if value.endswith(" s")] == [
        f"{seconds:.0f} s"
        for seconds in (limits.head_seconds, limits.body_seconds, limits.idle_seconds)
    ]
    assert table["headers together"] == f"{MAX_HEAD // 1024} KiB"
    assert (
        table["body, as sent and unpacked, unless the route says otherwise"]
        == f"{limits.max_body // 2**20} MiB"
    )
    enough = MOST_CONNECTIONS + BURST + RESERVED_DESCRIPTORS
    assert table["open connections"].startswith(f"{MOST_CONNECTIONS}, or fewer")
    assert f"{enough} descriptors" in table["open connections"]
    assert f"deeper than {MAX_NESTING} levels" in " ".join(SECTIONS["The event"].split())
