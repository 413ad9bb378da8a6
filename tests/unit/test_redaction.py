"""Secrets are found in every form in which programs write them, and nothing else is."""

import base64
import json
import threading
from urllib.parse import quote, quote_plus

import pytest

from hive_daemon.observability.redaction import (
    LONGEST_SECRET,
    Redactor,
    redactor,
    register_secret,
)
from hive_daemon.observability.secret_patterns import MASK, RULES, is_secret_name

# Put together here, so that no scanner takes this file for a leak.
ALNUM = "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz3"
HEX = "0123456789abcdef" * 4
KEYS = {
    "openai": "sk-" + ALNUM,
    "openai project": "sk-proj-" + ALNUM[:20] + "_" + ALNUM[20:],
    "openrouter": "sk-or-v1-" + HEX,
    "anthropic": "sk-ant-api03-" + ALNUM,
    "github personal": "ghp_" + ALNUM[:36],
    "github oauth": "gho_" + ALNUM[:36],
    "github server": "ghs_" + ALNUM[:36],
    "github fine-grained": "github_pat_" + ALNUM[:22] + "_" + ALNUM,
    "gitlab": "glpat-" + ALNUM[:20],
    "slack bot": "xoxb-" + "123456789012-" + ALNUM[:24],
    "slack user": "xoxp-" + "123456789012-" + ALNUM[:24],
    "slack app": "xapp-" + "1-A0123-" + ALNUM,
    "stripe live": "sk_live_" + ALNUM[:24],
    "stripe restricted": "rk_live_" + ALNUM[:24],
    "webhook signing": "whsec_" + ALNUM[:32],
    "aws key id": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws session key id": "ASIA" + "IOSFODNN7EXAMPLE",
    "google": "AIza" + ALNUM[:35],
    "google oauth": "ya29." + ALNUM,
    "google client secret": "GOCSPX-" + ALNUM[:28],
    "hugging face": "hf_" + ALNUM[:34],
    "telegram": "123456789" + ":AA" + ALNUM[:33],
    "jwt": "eyJ" + ALNUM[:20] + ".eyJ" + ALNUM + "." + ALNUM,
    "azure client secret": "abc8Q~" + ALNUM[:34],
    "sendgrid": "SG." + ALNUM[:22] + "." + ALNUM,
    "twilio": "SK" + HEX[:32],
    "npm": "npm_" + ALNUM[:36],
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" + ALNUM,
    "digitalocean": "dop_v1_" + HEX,
    "groq": "gsk_" + ALNUM,
    "xai": "xai-" + ALNUM,
    "perplexity": "pplx-" + ALNUM,
    "replicate": "r8_" + ALNUM[:37],
    "databricks": "dapi" + HEX[:32],
    "mailgun": "key-" + HEX[:32],
    "shopify": "shpat_" + HEX[:32],
    "vault": "hvs." + ALNUM,
    "atlassian": "ATATT3" + ALNUM,
    "linear": "lin_api_" + ALNUM,
    "grafana": "glsa_" + ALNUM,
    "docker hub": "dckr_pat_" + ALNUM[:27],
}
NAMED = {
    "aws secret": ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "environment": ("OPENAI_API_KEY={} python main.py", "plainvalue12"),
    "yaml": ("password: {}", "hunter22"),
    "query": ("GET /hook?a=1&token={}&b=2", "t0ps3cretvalue"),
    "json": ('{{"client_secret": "{}", "x": 1}}', "with space, and comma"),
    "json in json": ('"{{\\"password\\": \\"{}\\"}}"', "hunter22"),
    "python dict": ("{{'api_key': '{}', 'n': 2}}", "plainvalue12"),
    "camel case": ("accessToken={}", "plainvalue12"),
    "keyword argument": ("connect(password='{}', port=1)", "hunter22"),
    "bearer": ("authorization header was Bearer {} today", "abc123.def-456"),
    "authorization": ("Authorization: Token {}\nHost: x", "abcdefgh"),
    "authorization in a dict": ("{{'Authorization': 'Digest {}', 'Host': 'x'}}", "abcdefgh"),
    "raw header": ("(b'authorization', b'Bearer {}')", "abcdefgh"),
    "basic": ("sent Basic {} to the proxy", "dXNlcjpwYXNzd29yZA=="),
    "cookie": ("Set-Cookie: sid={}; HttpOnly", "abcdefgh"),
    "url": ("postgresql://hive:{}@db.example.org/hive", "p@ss-word"),
    "azure storage": ("AccountName=x;AccountKey={};EndpointSuffix=core", ALNUM + "=="),
    "azure signed url": ("https://x.blob.example.org/c?sv=1&sig={}&se=2", ALNUM),
    "aws signed url": ("https://s3.example.org/k?X-Amz-Signature={}", HEX),
    "slack webhook": ("https://hooks.slack.com/services/{}", "T000/B000/" + ALNUM[:24]),
    "option": ("hive login --api-key {} --json", "plainvalue12"),
    "option with equals": ("psql --db-password={}", "plainvalue12"),
}
ORDINARY = [
    "node finished",
    "session_20260302_090000_1a2b3c4d-2",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "input_tokens=512 output_tokens=44 max_tokens: 4096",
    "unexpected token: 17 at line 3",
    "the password is wrong and the secret is not set",
    "basic authentication is required, a bearer token is missing",
    "https://example.org:8080/path?a=b@c",
    "git@github.com:example/project.git and ssh://git@example.org/x",
    "api_key: ${env:OPENAI_API_KEY}",
    '{"api_key": "${file:/run/secrets/key}", "password": null, "secret": false}',
    "api_key_env=OPENAI_API_KEY secret_name=deploy",
    "the sk-learn task, the ghost and the global glass",
    "output_keys: report, memory_keys: x",
]
SECRET = 'p@ss/wörd+"quoted"\\=x'


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("frame", ["{}", "the key {} was refused", '{{"x":"{}"}}', "x={}&y=1"])
def test_a_known_kind_of_key_is_masked_wherever_it_stands(kind, frame):
    shown = Redactor().redact_text(frame.format(KEYS[kind]))
    assert KEYS[kind] not in shown
    assert shown == frame.format(MASK)


@pytest.mark.parametrize("kind", NAMED)
def test_a_value_is_masked_for_its_name_or_its_place(kind):
    frame, value = NAMED[kind]
    shown = Redactor().redact_text(frame.format(value))
    assert value not in shown
    assert MASK in shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text):
    assert Redactor().redact_text(text) == text


def test_a_private_key_is_masked_whole_and_also_when_its_end_is_missing():
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    assert Redactor().redact_text(f"a {begin}\nMIIE\n{end} b") == f"a {MASK} b"
    assert Redactor().redact_text(f"a {begin}\nMIIE\nMIIF") == f"a {MASK}"


def test_the_structure_of_quoted_json_survives():
    shown = Redactor().redact_text('{"password": "hunter22", "user": "bob"}')
    assert json.loads(shown) == {"password": MASK, "user": "bob"}


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b").lower(),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(SECRET))[3:-3],
        repr(SECRET)[1:-1],
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_a_registered_value_is_masked_in_every_form(form):
    shown = Redactor(SECRET).redact_text(f"got {form} back")
    assert form not in shown
    assert MASK in shown


@pytest.mark.parametrize("before", ["", "u", "us", "use"])
def test_a_registered_value_is_found_inside_longer_base64(before):
    encoded = base64.b64encode(f"{before}:{SECRET}:rest".encode()).decode()
    assert MASK in Redactor(SECRET).redact_text(encoded)


def test_a_value_is_masked_from_the_moment_it_is_registered():
    a = Redactor()
    assert a.redact_text("the word is swordfish") == "the word is swordfish"
    assert a.register("swordfish") is None
    assert a.redact_text("the word is swordfish") == f"the word is {MASK}"


def test_values_registered_at_once_by_several_threads_are_all_kept():
    a = Redactor()
    values = [f"value-number-{n}" for n in range(24)]
    threads = [threading.Thread(target=a.register, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert a.redact_text(" ".join(values)) == " ".join([MASK] * len(values))


@pytest.mark.parametrize(
    ("value", "reason"),
    [("abc", "fewer than 6 characters"), ("  12345 ", "fewer"), ("redacted", "mask")],
)
def test_a_value_that_would_blank_out_ordinary_words_is_ignored_with_a_reason(value, reason):
    a = Redactor()
    assert reason in (a.register(value) or "")
    assert a.redact_text(f"x {value} y") == f"x {value} y"


def test_the_process_has_one_redactor():
    assert register_secret("canary-of-the-process") is None
    assert redactor().redact_text("canary-of-the-process") == MASK
    assert redactor() is redactor()


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "proxy-authorization", "Cookie", "set-cookie", "password", "db_password", "passwd",
        "passphrase", "api_key", "apiKey", "X-Api-Key", "OPENAI_API_KEY", "apikeys", "token", "access_token",
        "refreshToken", "api_tokens", "secret", "client_secret", "clientSecret", "secrets", "private_key",
        "aws_secret_access_key", "credentials", "connection_string", "x-hub-signature-256", "jwt",
    ],
)  # fmt: skip
def test_names_under_which_secrets_are_kept(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "input_tokens", "output_tokens", "max_tokens", "total_input_tokens", "tokens", "token_count",
        "tokens_used", "max_history_tokens", "next_page_token", "fence_token", "api_key_env", "secret_name",
        "idempotency_key", "dedupe_key", "output_keys", "memory_keys", "key", "author", "signature", "auth",
        "passed", "session_id", "tokenizer",
    ],
)  # fmt: skip
def test_names_of_counters_and_keys_of_other_kinds_are_not_secret(name):
    assert not is_secret_name(name)


def test_a_mapping_is_masked_by_name_and_keeps_its_shape():
    value = {
        "headers": {"Authorization": "Bearer x", "Accept": "text/html"},
        "api_key": "${env:KEY}",
        "secrets": [{"name": "a", "n": 1}, "b", None],
        "password": 123456,
        "token": 42,
        "token_type": "bearer",
        "input_tokens": 17,
        "secret": "",
        "note": "password=hunter22",
    }
    assert Redactor().redact_value(value) == {
        "headers": {"Authorization": MASK, "Accept": "text/html"},
        "api_key": "${env:KEY}",
        "secrets": [{"name": MASK, "n": MASK}, MASK, None],
        "password": MASK,
        "token": 42,
        "token_type": "bearer",
        "input_tokens": 17,
        "secret": "",
        "note": f"password={MASK}",
    }


def test_a_secret_used_as_a_key_of_a_mapping_is_masked():
    a = Redactor("swordfish")
    assert a.redact_value({"swordfish": {"swordfish": 1}}) == {MASK: {MASK: 1}}
    assert a.redact_value({"secret": {"swordfish": "x"}}) == {"secret": {MASK: MASK}}


def test_a_value_nested_too_deep_is_masked_rather_than_trusted():
    value: list[object] = ["swordfish"]
    for _ in range(5000):
        value = [value]
    assert "swordfish" not in str(Redactor("swordfish").redact_value(value))
    assert MASK in str(Redactor("swordfish").redact_value({"secret": value}))


@pytest.mark.parametrize("at", range(90, 112, 3))
def test_a_cut_never_shows_the_first_half_of_a_secret(at):
    text = "x" * at + " swordfish " + "y" * 3 * LONGEST_SECRET
    shown = Redactor("swordfish").redact_head(text, 100)
    assert len(shown) <= 100
    assert "sw" not in shown


def test_a_short_text_is_not_cut():
    assert Redactor().redact_head("abc", 100) == "abc"
    assert Redactor().redact_value({"a": "x" * 10}, text_limit=4) == {"a": "xxxx"}


# A pattern that goes back and forth would need minutes for these, not a fraction of a second.
@pytest.mark.timeout(30)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_pattern_is_slow_on_a_long_text_made_against_it(rule):
    for tail in ("", "-", "_a", '="', "=\\", ": 'x"):
        unit = rule.anchor + tail
        text = unit * (250_000 // len(unit))
        assert rule.pattern.sub("", text) is not None
