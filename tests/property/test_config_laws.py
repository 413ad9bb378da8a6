"""Laws of the configuration: it never crashes, never tells a secret, and reads back what it writes."""

import contextlib
import json
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.config.addresses import ListenAddress, parse_listen
from hive_daemon.config.document import parse
from hive_daemon.config.load import ConfigSources, load_config, show
from hive_daemon.config.model import HiveConfig
from hive_daemon.config.references import Surroundings, resolve
from hive_daemon.config.schema import patterns
from hive_daemon.errors import ConfigError

CANARY = "hunter2canary"
texts = st.text(max_size=30)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
keys = (
    st.sampled_from(
        sorted({part.removesuffix("[]") for key in patterns() for part in key.split(".")})
    )
    | texts
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
documents = st.dictionaries(st.sampled_from([*HiveConfig.model_fields]) | keys, trees, max_size=6)


def sources(path: Path, **environ: str) -> ConfigSources:
    return ConfigSources(config_file=path, environ=environ, cwd=path.parent, home=path.parent)


@given(st.text(alphabet="ab01:-[]{}'\"#&*!|>%@`,?~ \n\t${}\\", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ConfigError):
        parse(text)


@given(documents)
@settings(max_examples=100, deadline=None)
def test_any_document_is_accepted_or_refused_with_reasons(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("any") / "hive.yaml"
    path.write_text(json.dumps(document))
    try:
        told = show(load_config(sources(path)))
    except ConfigError as refusal:
        told = list(refusal.problems)
    assert told
    assert "" not in told
    json.dumps(told, allow_nan=False)


@given(
    documents,
    st.sampled_from(
        [
            CANARY,
            f"{CANARY}-${{env:K}}",
            [CANARY],
            {"x": CANARY},
            f" {CANARY} ",
            f"${{{CANARY}}}",
            f"{CANARY}\n{CANARY}",
        ]
    ),
    st.sampled_from(["secret", "api_key", "api_keys", "Secret", "token"]),
)
@settings(max_examples=100, deadline=None)
def test_no_message_view_or_repr_holds_a_secret(tmp_path_factory, document, canary, key):
    path = tmp_path_factory.mktemp("secrets") / "hive.yaml"
    route = {"source_id": "s", "path": "/h", key: canary}
    agent = {
        "path": "/a",
        "webhook_routes": [route],
        "entry_points": {"e": {"trigger_config": {key: canary}}},
    }
    path.write_text(
        yaml.safe_dump({**document, "agents": [agent], "llm": {key: canary}, key: canary})
    )
    try:
        loaded = load_config(sources(path, K=CANARY))
    except ConfigError as refusal:
        seen = f"{refusal!r} {refusal} {refusal.hint} {refusal.__context__!r} {refusal.__cause__!r}"
    else:
        seen = f"{loaded!r} {json.dumps(show(loaded))}"
    assert CANARY not in seen


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_variables_value_arrives_unchanged(before, value):
    before = before.replace("$", "")
    around = Surroundings({"X": value}, Path("/nowhere"), Path("/nowhere"))
    assert resolve(f"{before}${{env:X}}", around) == before + value


@given(st.ip_addresses(), st.integers(0, 65535))
@settings(max_examples=100, deadline=None)
def test_an_address_is_read_back_as_it_was(host, port):
    address = ListenAddress(str(host), port)
    assert parse_listen(str(address)) == address
