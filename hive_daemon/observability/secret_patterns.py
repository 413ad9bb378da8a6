"""What secrets look like: the shapes of known keys, and the names under which secrets are kept.

A `Rule` is one row of the table: an anchor, a piece of text that every match holds, and a pattern that is
tried only where the anchor was found, so that ordinary text is passed in a microsecond. What a pattern captures
is kept, the rest becomes the mask.

Every pattern runs in linear time: repeats are bounded, possessive, or end at a character with which the next
attempt begins. Each begins with a literal or a set of two letters (`[tT](?i:oken)`), which the search skips to;
a look-behind or the flag IGNORECASE in front would make it try every character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MASK = "[redacted]"

_ALNUM = "[A-Za-z0-9]"
_WORDLY = "[A-Za-z0-9_-]"
_HEX = "[0-9a-fA-F]"

_QUOTE = r"(?:b?\\{0,3}[\"'])"
_ASSIGN = r"\\{0,3}[\"']?\s{0,4}(?::=|=>|[:=])\s{0,4}"
_NOT_A_SECRET = r"(?!\$\{|\[redacted\]|(?i:null|none|true|false|undefined)\b)"
_BARE = r"[^\s\"'`\\,;&<>(){}\[\]]++"
# A quoted value goes up to its own quote, a bare one to the next separator. The quotes of JSON that stands
# inside JSON carry backslashes.
_VALUE = (
    rf"(?:(b?\"){_NOT_A_SECRET}(?:[^\"\\\r\n]++|\\.)++"
    rf"|(b?'){_NOT_A_SECRET}(?:[^'\\\r\n]++|\\.)++"
    rf"|(b?\\{{1,3}}[\"']){_NOT_A_SECRET}[^\"'\\\r\n]++"
    rf"|{_NOT_A_SECRET}{_BARE})"
)
_KEY_KINDS = (
    "access", "account", "api", "auth", "consumer", "encryption", "master", "private", "secret", "signing",
    "ssh", "subscription",
)  # fmt: skip
_PASSWORD = "pass(?:word|wd|phrase|code)|pwd"


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of secret."""

    name: str
    anchor: str  # what every match holds; in lower case if the rule folds
    pattern: re.Pattern[str]
    replacement: str = MASK
    folds: bool = False  # case is not heeded, the anchor is looked up in the text in lower case


def _token(name: str, prefix: str, rest: str, *, before: str = _ALNUM) -> Rule:
    """Return the rule of a key that is told by its own beginning, with nothing of `before` in front."""
    literal = re.escape(prefix)
    return Rule(name, prefix, re.compile(rf"{literal}(?<!{before}{literal}){rest}"))


def _after(name: str, anchor: str, pattern: str) -> Rule:
    """Return the rule of a secret that follows something worth keeping: the pattern's first group."""
    return Rule(name, anchor, re.compile(pattern), rf"\1{MASK}")


def _folded(name: str, anchor: str, pattern: str) -> Rule:
    """Return the same for a pattern that does not heed case."""
    return Rule(name, anchor, re.compile(pattern, re.DOTALL), rf"\1{MASK}", folds=True)


def _named(name: str, word: str, but: str = "") -> Rule:
    """Return the rule of `word=value`, `word: value` and `"word": "value"`."""
    pattern = re.compile(rf"({word}{_ASSIGN}){but}{_VALUE}", re.DOTALL)
    return Rule(f"{name} by name", name, pattern, rf"\1\2\3\4{MASK}", folds=True)


def _header(name: str) -> Rule:
    """Return the rule of a header whose whole value is secret: `name: value` or `("name", "value")`."""
    first, rest = name[0], name[1:]
    word = f"[{first}{first.upper()}](?i:{rest})"
    between = rf"(?:{_ASSIGN}(?!\[redacted)\[?{_QUOTE}?|[\"']\s{{0,2}},\s{{0,2}}{_QUOTE})"
    value = rf"{_NOT_A_SECRET}[^\s\"'\\][^\"'\r\n\\]*+"
    return _folded(f"{name} header", name, rf"({word}{between}){value}")


_KIND_BEFORE = "|".join(rf"(?<=(?i:{kind}).)|(?<=(?i:{kind})[-_. ].)" for kind in _KEY_KINDS)
_ANY_NAME = rf"(?:{_PASSWORD}|secret|credentials?|token|(?:{'|'.join(_KEY_KINDS)})-key)"

RULES: tuple[Rule, ...] = (
    # The block first: what follows would tear pieces out of it.
    Rule(
        "private key",
        "PRIVATE KEY",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
            r".*?(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.DOTALL,
        ),
    ),
    _token("anthropic", "sk-ant-", rf"{_WORDLY}{{12,}}+"),
    _token("openai and its kin", "sk-", rf"{_WORDLY}{{16,}}+"),
    _token("github personal token", "ghp_", rf"{_ALNUM}{{20,}}+"),
    _token("github oauth token", "gho_", rf"{_ALNUM}{{20,}}+"),
    _token("github server token", "ghs_", rf"{_ALNUM}{{20,}}+"),
    _token("github user token", "ghu_", rf"{_ALNUM}{{20,}}+"),
    _token("github refresh token", "ghr_", rf"{_ALNUM}{{20,}}+"),
    _token("github fine-grained token", "github_pat_", r"\w{20,}+"),
    _token("gitlab personal token", "glpat-", r"[\w.=-]{16,}+"),
    _token("gitlab trigger token", "glptt-", r"[\w.=-]{16,}+"),
    _token("gitlab deploy token", "gldt-", r"[\w.=-]{16,}+"),
    _token("gitlab runner token", "glrt-", r"[\w.=-]{16,}+"),
    _token("slack token", "xox", rf"[a-z](?:\.xox[a-z])?-{_WORDLY}{{10,}}+"),
    _token("slack app token", "xapp-", rf"{_WORDLY}{{10,}}+"),
    _after(
        "slack webhook",
        "hooks.slack.com/",
        r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9/_-]{8,}+",
    ),
    _after("discord webhook", "/api/webhooks/", rf"(/api/webhooks/\d+/){_WORDLY}{{16,}}+"),
    _token("stripe key", "sk_live_", rf"{_ALNUM}{{8,}}+"),
    _token("stripe restricted key", "rk_live_", rf"{_ALNUM}{{8,}}+"),
    _token("stripe test key", "sk_test_", rf"{_ALNUM}{{8,}}+"),
    _token("webhook signing secret", "whsec_", r"[A-Za-z0-9+/_=-]{12,}+"),
    _token("aws key id", "AKIA", r"[A-Z0-9]{12,}+"),
    _token("aws session key id", "ASIA", r"[A-Z0-9]{12,}+"),
    _folded(
        "aws signed url",
        "x-amz-",
        rf"([xX]-(?i:amz)-(?i:signature|credential|security-token)=){_NOT_A_SECRET}{_BARE}",
    ),
    _token("google api key", "AIza", rf"{_WORDLY}{{30,}}+"),
    _token("google oauth token", "ya29.", rf"{_WORDLY}{{20,}}+"),
    _token("google oauth secret", "GOCSPX-", rf"{_WORDLY}{{16,}}+"),
    _token("hugging face", "hf_", rf"{_ALNUM}{{20,}}+"),
    Rule("telegram bot", ":AA", re.compile(rf"[0-9]{{6,12}}+:AA{_WORDLY}{{30,}}+")),
    _token(
        "json web token",
        "eyJ",
        rf"{_WORDLY}{{8,}}+\.{_WORDLY}{{8,}}+(?:\.{_WORDLY}*+){{0,3}}",
        before=_WORDLY,  # or `eyJ-eyJ-eyJ-…` would be read again from each of its `eyJ`
    ),
    Rule("azure client secret", "Q~", re.compile(r"[\w~.-]{3}[0-9]Q~[\w~.-]{31,34}")),
    _folded("azure signed url", "sig=", rf"([sS](?<!{_ALNUM}.)(?i:ig)=)[A-Za-z0-9%/+=_-]{{16,}}+"),
    _token("sendgrid", "SG.", rf"{_WORDLY}{{16,}}+\.{_WORDLY}{{16,}}+"),
    _token("twilio", "SK", rf"{_HEX}{{32}}"),
    _token("npm", "npm_", rf"{_ALNUM}{{30,}}+"),
    _token("pypi", "pypi-", rf"{_WORDLY}{{16,}}+"),
    Rule("digitalocean", "_v1_", re.compile(rf"do[opr]_v1_{_HEX}{{32,}}+")),
    _token("groq", "gsk_", rf"{_ALNUM}{{20,}}+"),
    _token("xai", "xai-", rf"{_ALNUM}{{20,}}+"),
    _token("perplexity", "pplx-", rf"{_ALNUM}{{20,}}+"),
    _token("replicate", "r8_", rf"{_ALNUM}{{30,}}+"),
    _token("databricks", "dapi", rf"{_HEX}{{32}}"),
    _token("mailgun", "key-", rf"{_HEX}{{32}}"),
    _token("shopify", "shp", rf"(?:at|ca|pa|ss)_{_HEX}{{32}}"),
    _token("vault", "hvs.", rf"{_WORDLY}{{20,}}+"),
    _token("atlassian", "ATATT3", r"[\w=-]{20,}+"),
    _token("linear", "lin_api_", rf"{_ALNUM}{{20,}}+"),
    _token("grafana", "glsa_", r"\w{20,}+"),
    _token("docker hub", "dckr_pat_", rf"{_WORDLY}{{20,}}+"),
    Rule(
        "password in a url",
        "://",
        re.compile(r"(://[^\s/?#:@\"'<>]*+:)(?:[^\s/?#@\"'<>]*+@)++"),
        rf"\1{MASK}@",
    ),
    _header("authorization"),
    _header("cookie"),
    _folded(
        "bearer credentials",
        "bearer ",
        r"([bB](?i:earer) {1,4})(?i:(?=[a-z]*+[0-9_~+/=-]|[a-z]*+\.[a-z0-9]|[a-z]{20}))"
        r"[A-Za-z0-9._~+/=-]{6,}+",
    ),
    _folded(
        "basic credentials",
        "basic ",
        r"([bB](?i:asic) {1,4})(?=[A-Za-z+/]*+[0-9=]|[a-z]*+[A-Z])[A-Za-z0-9+/]{8,}+={0,2}",
    ),
    _named("pass", "[pP](?i:ass(?:word|wd|phrase|code))"),
    _named("pwd", "[pP](?i:wd)"),
    _named("secret", "[sS](?i:ecret)"),
    _named("credential", "[cC](?i:redentials?)"),
    _named("key", rf"[kK](?:{_KIND_BEFORE})(?i:ey)"),
    # A short number beside `token` is a count, a position or a fence.
    _named("token", "[tT](?i:oken)", rf"(?!{_QUOTE}?[0-9]{{1,9}}\b)"),
    _folded(
        "command line option",
        "--",
        rf"(--(?i:(?:[a-z0-9]{{1,24}}-){{0,3}}{_ANY_NAME})[ =]{_QUOTE}?)(?!-){_NOT_A_SECRET}[^\s\"'\\]++",
    ),
)

_KEY = rf"(?:{'|'.join(_KEY_KINDS)})_?key"
_SECRET_NAME = re.compile(
    r"(?:(?:^|_)(?:authorization|cookies?|bearer|jwt|otp)"
    rf"|(?:{_PASSWORD})s?|password_hash|secrets?|credentials?|{_KEY}s?|connection_string"
    r"|token|(?:access|api|auth|bearer|bot|id|refresh|session)_?tokens"
    r"|^(?:x|stripe)(?:_[a-z0-9]+)?_signature(?:_256)?)\Z"
)
_NOT_SECRET_NAME = re.compile(
    r"(?:^|_)(?:bos|continuation|eos|fence|next|pad|page|stop|unk)_token\Z"
)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 200


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Say whether a value kept under this name is a secret.

    Snake, kebab and camel case are read alike. Counters (`input_tokens`, `max_tokens`), names of secrets
    (`api_key_env`, `secret_name`) and marks (`next_page_token`) are not secrets.

    >>> is_secret_name("X-Api-Key"), is_secret_name("clientSecret"), is_secret_name("output_tokens")
    (True, True, False)
    """
    snake = _WORD_START.sub("_", name[-_LONGEST_NAME:]).lower()
    plain = _SEPARATORS.sub("_", snake).strip("_")
    return bool(_SECRET_NAME.search(plain)) and not _NOT_SECRET_NAME.search(plain)
