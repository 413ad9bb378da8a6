"""How a webhook proves who sent it: one scheme per provider. Pure: the bytes and the time are arguments.

Laws: a proof is compared in constant time, over the bytes as they came, with every secret in turn; a header that is
missing, stands twice or is written any other way than the scheme says proves nothing; where the scheme signs a moment,
one that is further than the tolerance from now proves nothing either, and that is told only to a sender who signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verify(StrEnum):
    """The schemes."""

    GITHUB = "github"
    GITLAB = "gitlab"
    SLACK = "slack"
    STRIPE = "stripe"
    STANDARD = "standard"
    HMAC = "hmac"
    BEARER = "bearer"
    BASIC = "basic"
    NONE = "none"


class Verdict(StrEnum):
    """What a check found."""

    GENUINE = "genuine"
    FORGED = "forged"
    STALE = "stale"


class Digest(StrEnum):
    """The hash of a plain HMAC."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"


class Encoding(StrEnum):
    """How the bytes of a plain HMAC are written."""

    HEX = "hex"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class HmacShape:
    """How `verify: hmac` is written: in which header, with which hash, behind which prefix."""

    header: str = "X-Signature"
    digest: Digest = Digest.SHA256
    encoding: Encoding = Encoding.HEX
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What a check looks at: every value of each header by lower-case name, the body as it came, the wall time."""

    headers: Mapping[str, Sequence[bytes]]
    body: bytes = field(repr=False)
    now: float = 0.0

    def only(self, name: str) -> bytes | None:
        """Return the value of a header that stands exactly once, else None."""
        values = self.headers.get(name.lower(), ())
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Check:
    """A scheme with its keys, as a route uses it. `tolerance` is in seconds."""

    scheme: Verify
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    tolerance: float = 300.0
    shape: HmacShape = HmacShape()

    def judge(self, request: Request) -> Verdict:
        """Say whether the request is genuine."""
        match self.scheme:
            case Verify.NONE:
                return Verdict.GENUINE
            case Verify.HMAC:
                return _verdict(_has_plain_hmac(request, self.keys, self.shape))
            case Verify.SLACK | Verify.STRIPE | Verify.STANDARD:
                return self._judge_timed(_TIMED[self.scheme](request))
            case _:
                return _verdict(_UNTIMED[self.scheme](request, self.keys))

    def _judge_timed(self, signed: _Signed | None) -> Verdict:
        if signed is None:
            return Verdict.FORGED
        macs = [hmac.digest(key, signed.content, "sha256") for key in self.keys]
        if not _any_equal([signed.write(mac) for mac in macs], signed.proofs):
            return Verdict.FORGED
        return Verdict.STALE if abs(signed.age) > self.tolerance else Verdict.GENUINE


SIGNS_TIME = frozenset({Verify.SLACK, Verify.STRIPE, Verify.STANDARD})
CHALLENGES = {
    Verify.BEARER: 'Bearer realm="hive"',
    Verify.BASIC: 'Basic realm="hive", charset="UTF-8"',
}
"""What a 401 asks for. Source: RFC 9110, section 11.6.1."""

MOST_PROOFS = 16
"""Signatures in one header; a sender that rotates its keys has two or three."""

GITHUB_HEADER = "X-Hub-Signature-256"
_GITHUB_PREFIX = b"sha256="
_MOMENT = re.compile(rb"[0-9]{1,12}")


def key_of(scheme: Verify, secret: str) -> bytes:
    """Return the bytes that a scheme uses of a secret. Raises ValueError with the predicate of a sentence.

    A secret from the environment may hold bytes that are not UTF-8. Source for the `standard` form: Standard Webhooks
    1.0, "Signature scheme": base64, behind `whsec_`.
    """
    if scheme is Verify.STANDARD:
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is no base64, with or without whsec_ in front") from None
    if scheme is Verify.BASIC and ":" not in secret:
        raise ValueError("must be user:password")
    return secret.encode(errors="surrogateescape")


def proof(check: Check, body: bytes, now: float, delivery_id: str) -> dict[str, str]:
    """Return the headers that a genuine sender of this body would add, with the first key. For tries by hand."""
    key = check.keys[0] if check.keys else b""
    moment = str(int(now))
    match check.scheme:
        case Verify.GITHUB:
            mac = hmac.digest(key, body, "sha256").hex()
            return {GITHUB_HEADER: f"sha256={mac}", "X-GitHub-Delivery": delivery_id}
        case Verify.GITLAB:
            return {"X-Gitlab-Token": _text(key), "Idempotency-Key": delivery_id}
        case Verify.SLACK:
            mac = hmac.digest(key, b"v0:" + moment.encode() + b":" + body, "sha256").hex()
            return {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": f"v0={mac}"}
        case Verify.STRIPE:
            mac = hmac.digest(key, moment.encode() + b"." + body, "sha256").hex()
            return {"Stripe-Signature": f"t={moment},v1={mac}"}
        case Verify.STANDARD:
            content = f"{delivery_id}.{moment}.".encode() + body
            coded = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
            return {
                "webhook-id": delivery_id,
                "webhook-timestamp": moment,
                "webhook-signature": f"v1,{coded}",
            }
        case Verify.HMAC:
            return {check.shape.header: _text(_written(key, body, check.shape))}
        case Verify.BEARER:
            return {"Authorization": f"Bearer {_text(key)}"}
        case Verify.BASIC:
            return {"Authorization": f"Basic {base64.b64encode(key).decode()}"}
        case Verify.NONE:
            return {}


# --- schemes that sign the body or show a credential ------------------------------------------


def _is_github(request: Request, keys: Sequence[bytes]) -> bool:
    """Source: GitHub, "Validating webhook deliveries"."""
    given = request.only(GITHUB_HEADER)
    wanted = [
        _GITHUB_PREFIX + hmac.digest(key, request.body, "sha256").hex().encode() for key in keys
    ]
    return given is not None and _any_equal(wanted, [given])


def _is_gitlab(request: Request, keys: Sequence[bytes]) -> bool:
    """Source: GitLab, "Webhooks", secret token. Its signing token is `standard`."""
    return _is_credential(request.only("X-Gitlab-Token"), keys)


def _is_bearer(request: Request, keys: Sequence[bytes]) -> bool:
    """Source: RFC 6750, section 2.1."""
    return _is_credential(_authorization(request, b"bearer"), keys)


def _is_basic(request: Request, keys: Sequence[bytes]) -> bool:
    """Source: RFC 7617, section 2."""
    coded = _authorization(request, b"basic")
    try:
        given = None if coded is None else base64.b64decode(coded, validate=True)
    except binascii.Error:
        given = None
    return _is_credential(given, keys)


def _has_plain_hmac(request: Request, keys: Sequence[bytes], shape: HmacShape) -> bool:
    """Source: RFC 2104."""
    given = request.only(shape.header)
    wanted = [_written(key, request.body, shape) for key in keys]
    return given is not None and _any_equal(wanted, [given])


def _written(key: bytes, body: bytes, shape: HmacShape) -> bytes:
    mac = hmac.digest(key, body, shape.digest.value)
    coded = base64.b64encode(mac) if shape.encoding is Encoding.BASE64 else mac.hex().encode()
    return shape.prefix.encode() + coded


def _authorization(request: Request, wanted: bytes) -> bytes | None:
    scheme, _, rest = (request.only("Authorization") or b"").partition(b" ")
    return rest.strip(b" ") if scheme.lower() == wanted else None


def _is_credential(given: bytes | None, keys: Sequence[bytes]) -> bool:
    # Hashes have one length, so that the time tells nothing of the length of the secret.
    hashed = [hashlib.sha256(key).digest() for key in keys]
    return given is not None and _any_equal(hashed, [hashlib.sha256(given).digest()])


# --- schemes that sign a moment too -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Signed:
    """What was signed, the proofs given for it, how a proof is written, and how old it says it is, in seconds."""

    content: bytes
    proofs: Sequence[bytes]
    age: float
    write: Callable[[bytes], bytes]


def _slack(request: Request) -> _Signed | None:
    """Source: Slack, "Verifying requests from Slack"."""
    moment, given = request.only("X-Slack-Request-Timestamp"), request.only("X-Slack-Signature")
    if moment is None or given is None or not _MOMENT.fullmatch(moment):
        return None
    content = b"v0:" + moment + b":" + request.body
    return _Signed(content, [given], request.now - int(moment), _slack_proof)


def _slack_proof(mac: bytes) -> bytes:
    return b"v0=" + mac.hex().encode()


def _stripe(request: Request) -> _Signed | None:
    """Source: Stripe, "Verify webhook signatures manually"."""
    given = request.only("Stripe-Signature")
    if given is None:
        return None
    parts = [part.partition(b"=") for part in given.split(b",", MOST_PROOFS)]
    moments = [value for name, _, value in parts if name.strip() == b"t"]
    proofs = [value for name, _, value in parts if name.strip() == b"v1"]
    if len(moments) != 1 or not _MOMENT.fullmatch(moments[0]):
        return None
    content = moments[0] + b"." + request.body
    return _Signed(content, proofs, request.now - int(moments[0]), _hex)


def _hex(mac: bytes) -> bytes:
    return mac.hex().encode()


def _standard(request: Request) -> _Signed | None:
    """Source: Standard Webhooks 1.0, "Signature scheme"; Svix writes `svix-` for `webhook-`."""
    family = "webhook" if "webhook-signature" in request.headers else "svix"
    name = request.only(f"{family}-id")
    moment = request.only(f"{family}-timestamp")
    given = request.only(f"{family}-signature")
    if name is None or moment is None or given is None or not _MOMENT.fullmatch(moment):
        return None
    content = name + b"." + moment + b"." + request.body
    proofs = given.split(b" ", MOST_PROOFS)[:MOST_PROOFS]
    return _Signed(content, proofs, request.now - int(moment), _standard_proof)


def _standard_proof(mac: bytes) -> bytes:
    return b"v1," + base64.b64encode(mac)


# --- comparing --------------------------------------------------------------------------------


def _any_equal(wanted: Sequence[bytes], given: Sequence[bytes]) -> bool:
    """Compare all with all, so that the time does not tell which one fits."""
    return any([hmac.compare_digest(one, other) for one in wanted for other in given])  # noqa: C419


def _verdict(is_genuine: bool) -> Verdict:
    return Verdict.GENUINE if is_genuine else Verdict.FORGED


def _text(key: bytes) -> str:
    return key.decode(errors="surrogateescape")


_UNTIMED: dict[Verify, Callable[[Request, Sequence[bytes]], bool]] = {
    Verify.GITHUB: _is_github,
    Verify.GITLAB: _is_gitlab,
    Verify.BEARER: _is_bearer,
    Verify.BASIC: _is_basic,
}
_TIMED: dict[Verify, Callable[[Request], _Signed | None]] = {
    Verify.SLACK: _slack,
    Verify.STRIPE: _stripe,
    Verify.STANDARD: _standard,
}
