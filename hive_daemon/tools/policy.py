"""Which tool calls of an entry point run, which do not, and which a person is asked about. A decision, so pure.

`tools.policy` of an entry point is a list of rules, looked at in order; the first that matches a call settles it:

    tools:
      policy:
        - {tool: "read_*", action: allow}
        - {tool: [send_mail, "post_*"], when: "args.amount > 100", action: ask, message: "above the limit"}
        - {tool: "*", action: deny}
      on_ask: park

`tool` is a glob of names, or several. `when` is an expression (graph/expression.py) over `args`, the arguments of the
call, and `tool`, its name; a rule without one matches every call of its tools. A call that no rule matches runs.

Laws. Nothing runs by mistake: a `when` that cannot be evaluated makes its rule say `ask`, whatever it said. The
framework's own tools (set_output and the like) never come here. What is decided depends on the rules, the name and the
arguments alone, so it is the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from hive_daemon.errors import ConfigError
from hive_daemon.graph.expression import Expression, ExpressionError


class Action(StrEnum):
    """What a rule says of a call."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


class OnAsk(StrEnum):
    """What becomes of a call that a person is to be asked about: the execution waits for one, or it is denied."""

    PARK = "park"
    DENY = "deny"


_UNATTENDED = frozenset({"timer", "event", "webhook"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `message` is its reason, for the person who is asked and for the model that is denied."""

    tools: tuple[str, ...]
    action: Action
    when: Expression | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided on one call. `rule` counts from 0; None where no rule matched. `told` is the reason in words."""

    action: Action
    rule: int | None = None
    told: str = ""


ALLOWED = Ruling(Action.ALLOW)
"""What no rule says anything about."""


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """The rules of an entry point. `on_ask` is what is declared of asking; None: as the trigger has it."""

    rules: tuple[Rule, ...] = ()
    on_ask: OnAsk | None = None

    @staticmethod
    def parse(declared: Mapping[str, Any], where: str = "tools") -> ToolPolicy:
        """Read what stands under `tools` of an entry point. Raises ConfigError with every problem."""
        problems: list[str] = []
        unknown = sorted(map(str, declared.keys() - {"policy", "on_ask"}))
        problems.extend(f"{where}.{key}: unknown key" for key in unknown)
        on_ask = declared.get("on_ask")
        if on_ask is not None and on_ask not in list(OnAsk):
            problems.append(f"{where}.on_ask: {on_ask!r} is unknown, use park or deny")
        rules = declared.get("policy") or []
        if not isinstance(rules, list):
            problems.append(f"{where}.policy: must be a list of rules")
            rules = []
        found = [_rule(rule, f"{where}.policy[{at}]", problems) for at, rule in enumerate(rules)]
        if problems:
            raise ConfigError(problems)
        return ToolPolicy(tuple(filter(None, found)), None if on_ask is None else OnAsk(on_ask))

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Ruling:
        """Say what the rules make of a call."""
        for at, rule in enumerate(self.rules):
            if not any(fnmatchcase(tool, glob) for glob in rule.tools):
                continue
            ruling = _ruling(rule, at, tool, arguments)
            if ruling is not None:
                return ruling
        return ALLOWED

    def settle(self, tool: str, arguments: Mapping[str, Any], trigger: str) -> Ruling:
        """Say what becomes of a call in an execution begun by such a trigger: like `decide`, but where nobody is there
        to be asked, `ask` is `deny`."""
        ruling = self.decide(tool, arguments)
        on_ask = self.on_ask or on_ask_by(trigger)
        if ruling.action is not Action.ASK or on_ask is OnAsk.PARK:
            return ruling
        told = f"it needs the approval of a person, and nobody is there to give it ({ruling.told})"
        return Ruling(Action.DENY, ruling.rule, told)


NO_POLICY = ToolPolicy()
"""Every call runs."""


@dataclass(frozen=True, slots=True)
class ToolRights:
    """What the tools of one execution may do: the rules of its entry point, and what began it."""

    policy: ToolPolicy = NO_POLICY
    trigger: str = ""

    def ruling(self, tool: str, arguments: Mapping[str, Any]) -> Ruling:
        """Say what becomes of a call."""
        return self.policy.settle(tool, arguments, self.trigger)

    @property
    def can_ask(self) -> bool:
        """Whether a person may be asked about a call."""
        return (self.policy.on_ask or on_ask_by(self.trigger)) is OnAsk.PARK


ALL_RIGHTS = ToolRights()
"""Every call runs, and a person may be asked."""


def on_ask_by(trigger: str) -> OnAsk:
    """Return what becomes of asking where the entry point does not say: timers, events and webhooks have nobody."""
    return OnAsk.DENY if trigger in _UNATTENDED else OnAsk.PARK


def refusal(tool: str, ruling: Ruling) -> str:
    """Return what a model is told of a call that was denied."""
    return f"{tool} was not called: {ruling.told}. Go on without it, or say what is missing."


def _ruling(rule: Rule, at: int, tool: str, arguments: Mapping[str, Any]) -> Ruling | None:
    """Return what a rule for this tool says of a call, None where its condition does not hold."""
    if rule.when is None:
        return Ruling(rule.action, at, _told(rule, at))
    try:
        holds = rule.when.truth({"args": dict(arguments), "tool": tool})
    except ExpressionError as error:
        return Ruling(Action.ASK, at, f"rule {at + 1} cannot be evaluated: {error}")
    return Ruling(rule.action, at, _told(rule, at)) if holds else None


def _told(rule: Rule, at: int) -> str:
    if rule.action is Action.ALLOW:
        return ""
    return rule.message or f"rule {at + 1} of the tool policy says {rule.action}"


def _rule(declared: Any, where: str, problems: list[str]) -> Rule | None:
    if not isinstance(declared, Mapping):
        problems.append(f"{where}: must be a rule such as {{tool: send_*, action: ask}}")
        return None
    found = list(_rule_problems(declared))
    when = None
    try:
        when = Expression.parse(declared["when"]) if declared.get("when") is not None else None
    except ExpressionError as error:
        found.append(f"when: {error}")
    problems.extend(f"{where}.{problem}" for problem in found)
    if found:
        return None
    tools = declared["tool"]
    globs = (tools,) if isinstance(tools, str) else tuple(tools)
    return Rule(globs, Action(declared["action"]), when, declared.get("message") or "")


def _rule_problems(declared: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(map(str, declared.keys() - {"tool", "action", "when", "message"})):
        yield f"{key}: unknown key"
    tools = declared.get("tool")
    globs = [tools] if isinstance(tools, str) else tools
    if not isinstance(globs, list) or not globs:
        yield "tool: must be a name, or a list of names; * stands for any text"
    elif not all(isinstance(glob, str) and glob for glob in globs):
        yield "tool: must hold names only"
    if declared.get("action") not in list(Action):
        yield f"action: {declared.get('action')!r} is unknown, use allow, deny or ask"
    if not isinstance(declared.get("message") or "", str):
        yield "message: must be a text"
