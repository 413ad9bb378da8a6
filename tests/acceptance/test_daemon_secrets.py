"""Secrets of the configuration: whatever agents do with them, no log, event or command shows them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.fakes.daemon_process import Hived, Place

WEBHOOK, API_KEY, FREE = "hush-webhook-7f3a9c", "quiet/key+with=signs", "nobody-reads-this-token"
SECRETS = (WEBHOOK, API_KEY, FREE)


@pytest.fixture
def daemon(place: Place) -> Hived:
    """A daemon whose configuration holds three secrets, each given in another way."""
    (place.path / "key").write_text(f"{API_KEY}\n")
    place.write(
        agents=[
            {
                "path": str(place.path / "agents" / "witness"),
                "model": "scripted",
                "entry_points": {"say": {"trigger_config": {"api_token": FREE}}},
                "webhook_routes": [
                    {"source_id": "mail", "path": "/mail", "secret": "${env:MAIL_SECRET}"}
                ],
            }
        ],
        llm={"model": "scripted", "api_key": "${file:key}"},
        log={"level": "DEBUG"},
    )
    return place.start(MAIL_SECRET=WEBHOOK, HIVE_DEBUG_EVENTS=str(place.path / "events")).ready()


def events(place: Place) -> str:
    return "\n".join(m.data for m in place.messages("/v1/events?until=caught_up"))


@pytest.mark.parametrize("log_format", ["json", "human"])
def test_no_log_event_or_answer_shows_a_secret_that_an_agent_lets_out(
    place: Place, daemon: Hived, log_format: str
) -> None:
    if log_format == "json":
        assert daemon.terminate() == 0
        daemon = place.start("--log-format", "json", MAIL_SECRET=WEBHOOK).ready()
    for secret in SECRETS:
        assert place.settled(place.trigger("witness/say", text=secret))["status"] == "completed"
        failed = place.settled(place.trigger("witness/say", text=secret, raises=True))
        assert failed["status"] == "failed"
        assert secret not in str(failed["error"])
    told = events(place)
    assert daemon.terminate() == 0
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        kept = "".join(str(row) for row in db.execute("SELECT data FROM events"))
    debugged = "".join(
        path.read_text() for path in place.path.glob("events/**/*") if path.is_file()
    )
    for secret in SECRETS:
        for where, text in {
            "log": place.log,
            "events": told,
            "store": kept,
            "debug": debugged,
        }.items():
            assert secret not in text, where
    assert "the node says [redacted]" in place.log
    assert "it cannot bear [redacted]" in place.log


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_config_show_and_check_mask_every_secret(
    place: Place, daemon: Hived, form: tuple[str, ...]
) -> None:
    for verb in ("show", "check"):
        ran = place.hive(*form, "config", verb, "--config", str(place.config), MAIL_SECRET=WEBHOOK)
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, said
        assert [secret for secret in SECRETS if secret in said] == []
    checked = place.refused("--check", MAIL_SECRET=WEBHOOK)
    assert [secret for secret in SECRETS if secret in checked[1]] == []


def test_a_configuration_that_is_refused_quotes_no_secret(place: Place) -> None:
    place.config.write_text(f"llm: {{api_key: {WEBHOOK}, timeout_seconds: x}}\n")
    code, said = place.refused()
    assert (code, WEBHOOK in said) == (78, False)
