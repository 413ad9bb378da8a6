"""Requests that providers publish in their documentation, byte for byte, each with the check that takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hive_daemon.runtime.webhook_schemes import (
    Check,
    Digest,
    HmacShape,
    Request,
    Verdict,
    Verify,
    key_of,
)

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
    b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


@dataclass(frozen=True)
class Vector:
    """A published request. `signs` names the headers that prove it."""

    source: str
    check: Check
    secret: str
    body: bytes
    headers: dict[str, str]
    now: float = 0.0
    signs: tuple[str, ...] = ()

    def request(self, **changes: object) -> Request:
        """Return the request, with headers as they would arrive."""
        headers = {name.lower(): [value.encode()] for name, value in self.headers.items()}
        return replace(Request(headers, self.body, self.now), **changes)  # type: ignore[arg-type]

    def verdict(self, **changes: object) -> Verdict:
        """Judge the request, with something changed."""
        return self.check.judge(self.request(**changes))


def _check(scheme: Verify, secret: str, digest: Digest = Digest.SHA256) -> Check:
    return Check(scheme, (key_of(scheme, secret),), shape=HmacShape(digest=digest))


GITHUB = Vector(
    "GitHub, Validating webhook deliveries, Testing the webhook payload validation",
    _check(Verify.GITHUB, "It's a Secret to Everybody"),
    "It's a Secret to Everybody",
    b"Hello, World!",
    {
        "X-Hub-Signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    },
    signs=("x-hub-signature-256",),
)
SLACK = Vector(
    "Slack, Verifying requests from Slack",
    _check(Verify.SLACK, "8f742231b10e8888abcd99yyyzzz85a5"),
    "8f742231b10e8888abcd99yyyzzz85a5",
    SLACK_BODY,
    {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    1531420618.0,
    ("x-slack-signature", "x-slack-request-timestamp"),
)
STANDARD = Vector(
    "Standard Webhooks and Svix, the example of their libraries and manual verification",
    _check(Verify.STANDARD, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    b'{"test": 2432232314}',
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    1614265330.0,
    ("webhook-signature", "webhook-timestamp", "webhook-id"),
)
BASIC = Vector(
    "RFC 7617, section 2",
    _check(Verify.BASIC, "Aladdin:open sesame"),
    "Aladdin:open sesame",
    b"{}",
    {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
    signs=("authorization",),
)
BASIC_UTF8 = Vector(
    "RFC 7617, section 2.1",
    _check(Verify.BASIC, "test:123£"),
    "test:123£",
    b"{}",
    {"Authorization": "Basic dGVzdDoxMjPCow=="},
    signs=("authorization",),
)
BEARER = Vector(
    "RFC 6750, section 2.1",
    _check(Verify.BEARER, "mF_9.B5f-4.1JqM"),
    "mF_9.B5f-4.1JqM",
    b"{}",
    {"Authorization": "Bearer mF_9.B5f-4.1JqM"},
    signs=("authorization",),
)
HMAC_SHA256 = Vector(
    "RFC 4231, test case 2",
    _check(Verify.HMAC, "Jefe"),
    "Jefe",
    b"what do ya want for nothing?",
    {"X-Signature": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    signs=("x-signature",),
)
HMAC_SHA512 = Vector(
    "RFC 4231, test case 2",
    _check(Verify.HMAC, "Jefe", Digest.SHA512),
    "Jefe",
    b"what do ya want for nothing?",
    {
        "X-Signature": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    },
    signs=("x-signature",),
)
HMAC_SHA1 = Vector(
    "RFC 2202, test case 2",
    _check(Verify.HMAC, "Jefe", Digest.SHA1),
    "Jefe",
    b"what do ya want for nothing?",
    {"X-Signature": "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    signs=("x-signature",),
)
PUBLISHED = {
    "github": GITHUB,
    "slack": SLACK,
    "standard": STANDARD,
    "basic": BASIC,
    "basic, UTF-8": BASIC_UTF8,
    "bearer": BEARER,
    "hmac, SHA-256": HMAC_SHA256,
    "hmac, SHA-512": HMAC_SHA512,
    "hmac, SHA-1": HMAC_SHA1,
}
