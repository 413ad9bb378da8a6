"""Each scheme takes what its provider publishes, and nothing else."""

import hashlib
import hmac
from dataclasses import replace

import pytest

from hive_daemon.runtime.webhook_schemes import (
    SIGNS_TIME,
    Check,
    Encoding,
    HmacShape,
    Request,
    Verdict,
    Verify,
    key_of,
    proof,
)
from tests.fakes.webhook_vectors import PUBLISHED, STANDARD, Vector

NOW = 1_700_000_000.0
BODY = b'{"id": "evt_1"}'
SECRETS = {
    Verify.STANDARD: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    Verify.BASIC: "hive:hunter2",
}
OTHERS = {
    Verify.STANDARD: "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB",
    Verify.BASIC: "hive:hunter3",
}
SIGNING = [scheme for scheme in Verify if scheme is not Verify.NONE]
SIGN_THE_BODY = [Verify.GITHUB, Verify.SLACK, Verify.STRIPE, Verify.STANDARD, Verify.HMAC]


def check(scheme: Verify, *secrets: str, tolerance: float = 300.0) -> Check:
    given = secrets or (SECRETS.get(scheme, "s3cret"),)
    return Check(scheme, tuple(key_of(scheme, each) for each in given), tolerance)


def genuine(scheme: Verify, body: bytes = BODY, now: float = NOW) -> Request:
    headers = proof(check(scheme), body, now, "d-1")
    return Request({name.lower(): [text.encode()] for name, text in headers.items()}, body, now)


def with_headers(request: Request, **headers: list[bytes]) -> Request:
    changed = {name.replace("_", "-"): values for name, values in headers.items()}
    return replace(request, headers={**request.headers, **changed})


# --- published requests -----------------------------------------------------------------------


@pytest.mark.parametrize("vector", PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_request_is_genuine(vector: Vector) -> None:
    assert vector.verdict() is Verdict.GENUINE


@pytest.mark.parametrize("vector", PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_request_without_its_proof_is_forged(vector: Vector) -> None:
    for name in vector.signs:
        headers = {key: value for key, value in vector.request().headers.items() if key != name}
        assert vector.verdict(headers=headers) is Verdict.FORGED


def test_stripes_published_header_is_read_and_its_old_scheme_left_aside() -> None:
    """Source: Stripe, "Verify webhook signatures manually"; its secret and body are not published, the layout is."""
    layout = (
        "t=1492774577,v1={},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    )
    mac = hmac.new(b"whsec_test", b"1492774577." + BODY, hashlib.sha256).hexdigest()
    stripe = check(Verify.STRIPE, "whsec_test")
    given = {"stripe-signature": [layout.format(mac).encode()]}
    old = {"stripe-signature": [f"t=1492774577,v0={mac}".encode()]}
    assert stripe.judge(Request(given, BODY, 1492774577.0)) is Verdict.GENUINE
    assert stripe.judge(Request(old, BODY, 1492774577.0)) is Verdict.FORGED


def test_gitlabs_token_is_compared_as_it_stands() -> None:
    """Source: GitLab, "Webhooks", validate payloads by using a secret token."""
    request = Request({"x-gitlab-token": [b"my_secret"]}, BODY)
    assert check(Verify.GITLAB, "my_secret").judge(request) is Verdict.GENUINE
    assert check(Verify.GITLAB, "my_secre").judge(request) is Verdict.FORGED


def test_svix_writes_its_own_names_for_the_standard_headers() -> None:
    headers = {
        name.replace("webhook-", "svix-"): values
        for name, values in STANDARD.request().headers.items()
    }
    assert STANDARD.verdict(headers=headers) is Verdict.GENUINE


def test_one_right_signature_among_several_is_enough() -> None:
    """Source: Standard Webhooks 1.0: a list with spaces, so that a key can be changed without a gap."""
    right = STANDARD.headers["webhook-signature"].encode()
    wrong = b"v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    request = STANDARD.request()
    for given, verdict in [
        (b" ".join([wrong, right, b"v1a,ed25519"]), Verdict.GENUINE),
        (b" ".join([wrong, wrong]), Verdict.FORGED),
        (b" ".join([wrong] * 20 + [right]), Verdict.FORGED),
        (right.replace(b"v1,", b"v2,"), Verdict.FORGED),
        (right.replace(b"v1,", b""), Verdict.FORGED),
    ]:
        signed = with_headers(request, webhook_signature=[given])
        assert STANDARD.check.judge(signed) is verdict


# --- what every scheme holds to ---------------------------------------------------------------


@pytest.mark.parametrize("scheme", SIGNING)
def test_a_request_with_its_own_proof_is_genuine(scheme: Verify) -> None:
    assert check(scheme).judge(genuine(scheme)) is Verdict.GENUINE


@pytest.mark.parametrize("scheme", SIGNING)
def test_nothing_at_all_proves_nothing(scheme: Verify) -> None:
    assert check(scheme).judge(Request({}, BODY, NOW)) is Verdict.FORGED


@pytest.mark.parametrize("scheme", SIGNING)
def test_another_secret_proves_nothing(scheme: Verify) -> None:
    other = check(scheme, OTHERS.get(scheme, "another"))
    assert other.judge(genuine(scheme)) is Verdict.FORGED


@pytest.mark.parametrize("scheme", SIGN_THE_BODY)
@pytest.mark.parametrize("body", [b"", BODY + b"\n", BODY[:-1], b" " + BODY])
def test_another_body_proves_nothing(scheme: Verify, body: bytes) -> None:
    assert check(scheme).judge(replace(genuine(scheme), body=body)) is Verdict.FORGED


@pytest.mark.parametrize("scheme", SIGNING)
def test_every_secret_of_a_rotation_is_taken_and_no_third_one(scheme: Verify) -> None:
    own = SECRETS.get(scheme, "s3cret")
    new = OTHERS.get(scheme, "another")
    assert check(scheme, new, own).judge(genuine(scheme)) is Verdict.GENUINE
    assert check(scheme, own, new).judge(genuine(scheme)) is Verdict.GENUINE
    assert check(scheme, new, new).judge(genuine(scheme)) is Verdict.FORGED


@pytest.mark.parametrize("scheme", SIGNING)
def test_a_proof_that_stands_twice_proves_nothing(scheme: Verify) -> None:
    request = genuine(scheme)
    for name, values in request.headers.items():
        if name in ("x-github-delivery", "idempotency-key"):
            continue
        twice = replace(request, headers={**request.headers, name: [*values, *values]})
        assert check(scheme).judge(twice) is Verdict.FORGED


@pytest.mark.parametrize("scheme", SIGNING)
@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xff\xfe",
        "é".encode(),
        "\u0661\u0662".encode(),
        b"=",
        b",",
        b" ",
        b"v1,",
        b"x" * 9000,
    ],
)
def test_a_header_that_is_no_text_or_no_proof_is_forged_and_no_fault(
    scheme: Verify, junk: bytes
) -> None:
    request = genuine(scheme)
    for name in request.headers:
        if name in ("x-github-delivery", "idempotency-key"):
            continue
        spoilt = replace(request, headers={**request.headers, name: [junk]})
        assert check(scheme).judge(spoilt) is Verdict.FORGED


@pytest.mark.parametrize("scheme", sorted(SIGNS_TIME))
@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (0, Verdict.GENUINE),
        (300, Verdict.GENUINE),
        (301, Verdict.STALE),
        (-300, Verdict.GENUINE),
        (-301, Verdict.STALE),
        (10**9, Verdict.STALE),
    ],
)
def test_a_signed_moment_may_be_so_far_from_now(scheme: Verify, age: int, verdict: Verdict) -> None:
    assert check(scheme).judge(replace(genuine(scheme), now=NOW + age)) is verdict


@pytest.mark.parametrize("scheme", sorted(SIGNS_TIME))
def test_the_tolerance_is_the_routes_own(scheme: Verify) -> None:
    late = replace(genuine(scheme), now=NOW + 50)
    assert check(scheme, tolerance=60).judge(late) is Verdict.GENUINE
    assert check(scheme, tolerance=40).judge(late) is Verdict.STALE


@pytest.mark.parametrize("scheme", sorted(SIGNS_TIME))
def test_a_moment_that_was_changed_is_forged_and_not_stale(scheme: Verify) -> None:
    request = genuine(scheme)
    later = {
        name: [values[0].replace(b"1700000000", b"1700000900")]
        for name, values in request.headers.items()
    }
    moved = replace(request, headers=later, now=NOW + 900)
    assert check(scheme).judge(moved) is Verdict.FORGED


def test_an_hmac_is_written_as_the_route_says() -> None:
    shape = HmacShape("X-Square", encoding=Encoding.BASE64, prefix="sig=")
    wanted = Check(Verify.HMAC, (b"k",), shape=shape)
    [(name, text)] = proof(wanted, BODY, NOW, "").items()
    assert (name, text[:4]) == ("X-Square", "sig=")
    assert wanted.judge(Request({"x-square": [text.encode()]}, BODY)) is Verdict.GENUINE
    assert wanted.judge(Request({"x-square": [text[4:].encode()]}, BODY)) is Verdict.FORGED
    assert wanted.judge(Request({"x-signature": [text.encode()]}, BODY)) is Verdict.FORGED


@pytest.mark.parametrize(
    "text",
    ["bearer s3cret", "BEARER s3cret", "Bearer  s3cret"],
)
def test_a_bearer_token_stands_behind_its_word_however_that_is_written(text: str) -> None:
    request = Request({"authorization": [text.encode()]}, BODY)
    assert check(Verify.BEARER).judge(request) is Verdict.GENUINE


@pytest.mark.parametrize(
    "text", ["s3cret", "Bearers3cret", "Basic s3cret", "Bearer s3cret x", "Token s3cret", "Bearer"]
)
def test_a_token_anywhere_else_proves_nothing(text: str) -> None:
    request = Request({"authorization": [text.encode()]}, BODY)
    assert check(Verify.BEARER).judge(request) is Verdict.FORGED


def test_none_takes_everybody() -> None:
    assert Check(Verify.NONE).judge(Request({}, BODY)) is Verdict.GENUINE


def test_a_standard_secret_is_base64() -> None:
    assert key_of(Verify.STANDARD, "whsec_MfKQ") == key_of(Verify.STANDARD, "MfKQ")
    with pytest.raises(ValueError, match="is no base64"):
        key_of(Verify.STANDARD, "whsec_not base64!")


def test_a_basic_secret_is_a_name_and_a_password() -> None:
    with pytest.raises(ValueError, match="user:password"):
        key_of(Verify.BASIC, "hunter2")


def test_a_check_shows_no_key() -> None:
    assert "s3cret" not in repr(check(Verify.GITHUB))
