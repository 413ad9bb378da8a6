"""The tools of an agent: where they come from, what a model is told of them, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, overload

from hive_daemon import framework_alias
from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.llm.values import Tool
from hive_daemon.private_package import PrivatePackage
from hive_daemon.tools.calling import RegisteredTool, RegistryExecutor, WholeCall
from hive_daemon.tools.context import reset_execution_context, set_execution_context
from hive_daemon.tools.data_tools import BUILT_IN
from hive_daemon.tools.function_tool import FunctionTool, marked_functions
from hive_daemon.tools.mcp_config import McpServer, read_mcp_config, server_of
from hive_daemon.tools.on_unknown import OnUnknown

__all__ = ["RegisteredTool", "ToolRegistry"]

CALL_SECONDS = 60.0
"""How long one call may take where the tool does not say."""


class ToolRegistry:
    """Tools by name. Of two registered under one name the later one counts."""

    def __init__(
        self, *, timeout_seconds: float = CALL_SECONDS, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._tools: dict[str, RegisteredTool] = {}
        self._session: dict[str, Any] = {}
        self._servers: dict[str, McpServer] = {}
        self._packages: list[PrivatePackage] = []
        self._timeout_seconds = timeout_seconds
        self._clock = clock

    # --- registering ------------------------------------------------------------------------

    def register(
        self,
        name: str,
        tool: Tool,
        executor: Callable[[dict[str, Any]], Any],
        *,
        timeout_seconds: float | None = None,
        on_unknown: str = OnUnknown.FAIL,
    ) -> None:
        """Add a tool; `executor` takes its arguments as a dict and may be asynchronous.

        `on_unknown` (`retry`, `fail`, `ask`) says what becomes of a call whose result a crash took. Raises InvalidInput
        if the tool has another name.
        """
        if tool.name != name:
            raise InvalidInput(f"the tool {tool.name!r} cannot be registered as {name!r}")
        mark = OnUnknown(on_unknown)
        self._tools[name] = RegisteredTool(tool, executor, timeout_seconds, on_unknown=mark)

    def register_function(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        description: str | None = None,
        *,
        timeout_seconds: float | None = None,
        on_unknown: str = OnUnknown.FAIL,
    ) -> None:
        """Add a function; its arguments are read off its signature, what it does off its docstring.

        A parameter `data_dir` is filled in by the execution, the model does not see it.
        """
        known = name or str(getattr(function, "__name__", type(function).__name__))
        runner = FunctionTool.of(function, self._session)
        described = runner.described(known, description or "")
        mark = OnUnknown(on_unknown)
        self._tools[known] = RegisteredTool(described, runner, timeout_seconds, on_unknown=mark)

    def register_unavailable(self, name: str, reason: str) -> None:
        """Add a name that nodes ask for and that nothing can run at present; a call answers with the reason."""
        tool = Tool(name, f"Unavailable: {reason}", {"type": "object", "properties": {}})
        self._tools[name] = RegisteredTool(tool, dict, unavailable=reason)

    def offer_built_ins(self, names: Iterable[str]) -> list[str]:
        """Add those of the built-in data tools that are asked for and that the agent does not bring itself.

        Returns their names.
        """
        found = [
            name
            for name in dict.fromkeys(names)
            if name in BUILT_IN and (name not in self._tools or self._tools[name].is_of_servers)
        ]
        for name in found:
            function, mark = BUILT_IN[name]
            self.register_function(function, on_unknown=mark)
            # An answer that saves a file, adds to it and hands it over means it in that order.
            self._tools[name] = replace(self._tools[name], takes_turns=True)
        return found

    def discover_from_module(self, module_path: str | Path) -> int:
        """Execute a Python file and add its tools, see `discover`; return how many, 0 if there is no such file.

        Raises what the file raises, and ConfigError.
        """
        path = Path(module_path).absolute()
        if not path.is_file():
            return 0
        package = PrivatePackage(path.parent)
        self._packages.append(package)
        with framework_alias.installed():
            return self.discover(package.load(path.stem))

    def discover(self, module: ModuleType) -> int:
        """Add the tools of a module and return how many.

        They are the entries of `TOOLS` (`{name: Tool}`), run by `tool_executor(ToolUse)` or by functions called like
        them, and the functions marked with `@tool`. Raises ConfigError for a `TOOLS` that is not that.
        """
        declared = _declared(module)
        executor = getattr(module, "tool_executor", None)
        for name, tool in declared.items():
            function = getattr(module, name, None)
            if callable(executor):
                self.register(name, tool, WholeCall(name, executor))
            elif callable(function):
                self.register(name, tool, FunctionTool.of(function, self._session))
            else:
                reason = f"{_file(module)} declares it, but has no tool_executor to run it"
                self.register_unavailable(name, reason)
        marked = marked_functions(module)
        for name, (function, mark) in marked.items():
            self.register_function(
                function,
                name,
                mark.description,
                timeout_seconds=mark.timeout_seconds,
                on_unknown=mark.on_unknown,
            )
        return len({*declared, *marked})

    # --- MCP servers ------------------------------------------------------------------------

    def load_mcp_config(self, config_path: str | Path) -> int:
        """Note the servers that a `mcp_servers.json` declares and return how many; none is started.

        Raises ConfigError with every problem of the file.
        """
        servers = read_mcp_config(Path(config_path).absolute())
        self.note_servers(servers)
        return len(servers)

    def register_mcp_server(self, declared: Mapping[str, Any]) -> None:
        """Note one server, written as in `mcp_servers.json`; it is not started. Raises ConfigError."""
        server, problems = server_of(declared.get("name"), dict(declared), Path())
        if server is None:
            raise ConfigError(problems, source="MCP server")
        self._servers[server.name] = server

    def note_servers(self, servers: Iterable[McpServer]) -> None:
        """Note servers; none is started."""
        self._servers.update({server.name: server for server in servers})

    @property
    def mcp_servers(self) -> tuple[McpServer, ...]:
        """The servers that were declared."""
        return tuple(self._servers.values())

    def expect_from_servers(
        self, names: Iterable[str], further_servers: Iterable[str] = ()
    ) -> list[str]:
        """Take it that the declared servers offer these tools, as far as they are not registered.

        They are unavailable until `ToolServers` has started the servers. Returns their names.
        """
        missing = [name for name in dict.fromkeys(names) if name not in self._tools]
        servers = ", ".join([*self._servers, *further_servers])
        reason = f"no MCP server offers it yet (declared: {servers})"
        for name in missing:
            self._expect(name, reason)
        return missing

    def take_from_server(self, server: str, offered: Mapping[str, RegisteredTool]) -> list[str]:
        """Offer the tools of a server in place of those it offered before; return the names that others hold already.

        A tool that it does not offer any more stays, unavailable: nodes ask for it. What the agent brings itself, and
        what a server declared before it offers, is not replaced.
        """
        for name, entry in tuple(self._tools.items()):
            if entry.server == server and name not in offered:
                self._expect(name, f"the MCP server {server} does not offer it any more")
        taken = []
        for name, entry in offered.items():
            if self._yields(name, server):
                self._tools[name] = entry
            else:
                taken.append(name)
        return taken

    def _yields(self, name: str, server: str) -> bool:
        """Say whether a name is free for the tool of a server."""
        held = self._tools.get(name)
        if held is None or held.is_expected or held.server == server:
            return True
        order = list(self._servers)
        return held.server in order and server in order[: order.index(held.server)]

    def explain_expected(self, reason: str) -> None:
        """Say anew why the tools that are expected of servers are unavailable."""
        for name, entry in tuple(self._tools.items()):
            if entry.is_expected:
                self._expect(name, reason)

    def server_of(self, name: str) -> str:
        """Return the MCP server that runs a tool, empty where none does."""
        entry = self._tools.get(name)
        return entry.server if entry else ""

    def _expect(self, name: str, reason: str) -> None:
        tool = Tool(name, f"Unavailable: {reason}", {"type": "object", "properties": {}})
        self._tools[name] = RegisteredTool(tool, dict, unavailable=reason, is_expected=True)

    # --- asking -----------------------------------------------------------------------------

    def get_tools(self) -> dict[str, Tool]:
        """Return the tools by name, as models are told of them."""
        return {name: entry.tool for name, entry in self._tools.items()}

    def equip(self, wanted: Iterable[str], given: Sequence[Tool] = ()) -> Sequence[Tool]:
        """Get the tools ready that nodes want: the built-in ones, and those that only a declared server can offer.

        Returns what is offered, as it is at each look, for those of servers come and go: the `given` ones and the tools
        of this registry. Of two with one name the registry's comes last, and counts.
        """
        names = list(wanted)
        self.offer_built_ins(names)
        if self._servers:
            known = {tool.name for tool in given}
            self.expect_from_servers(name for name in names if name not in known)
        return OfferedTools(tuple(given), self._tools)

    def get_executor(self) -> OwnedExecutor:
        """Return what runs calls of these tools, also of those registered later."""
        return OwnedExecutor(self._tools, self._timeout_seconds, self._clock, self)

    def get_registered_names(self) -> list[str]:
        """Return the names."""
        return list(self._tools)

    def has_tool(self, name: str) -> bool:
        """Say whether the name is registered."""
        return name in self._tools

    @property
    def unavailable(self) -> dict[str, str]:
        """The names that cannot be called, and why."""
        return {name: each.unavailable for name, each in self._tools.items() if each.unavailable}

    # --- context ----------------------------------------------------------------------------

    def set_session_context(self, **fields: Any) -> None:
        """Say what is true for every call of these tools; what the execution says goes before it."""
        self._session.update(fields)

    @staticmethod
    def set_execution_context(**fields: Any) -> Token[dict[str, Any] | None]:
        """Say what is true for calls of the running task; see `tools.context`."""
        return set_execution_context(**fields)

    @staticmethod
    def reset_execution_context(token: Token[dict[str, Any] | None]) -> None:
        """Put that back to what it was when `token` was made."""
        reset_execution_context(token)

    def cleanup(self) -> None:
        """Forget the modules that `discover_from_module` executed. The tools stay callable."""
        while self._packages:
            self._packages.pop().close()


@dataclass(frozen=True, slots=True)
class OwnedExecutor(RegistryExecutor):
    """Runs the tools of a registry, and knows which: an agent that is given the executor finds its servers there."""

    registry: ToolRegistry = field(repr=False, compare=False)


class OfferedTools(Sequence[Tool]):
    """Tools that were given, and those of a registry, as they are at each look."""

    def __init__(self, given: tuple[Tool, ...], tools: Mapping[str, RegisteredTool]) -> None:
        self._given = given
        self._tools = tools

    def __len__(self) -> int:
        return len(self._given) + len(self._tools)

    @overload
    def __getitem__(self, at: int) -> Tool: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Tool]: ...

    def __getitem__(self, at: int | slice) -> Tool | Sequence[Tool]:
        return list(self)[at]

    def __iter__(self) -> Iterator[Tool]:
        return iter([*self._given, *(entry.tool for entry in self._tools.values())])


def _declared(module: ModuleType) -> dict[str, Tool]:
    found = getattr(module, "TOOLS", {})
    if isinstance(found, list | tuple):
        found = {getattr(each, "name", f"TOOLS[{at}]"): each for at, each in enumerate(found)}
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise ConfigError(f"TOOLS is a {kind}, it must be {{name: Tool}}", source=_file(module))
    problems = [
        f"TOOLS[{name!r}] is a {type(tool).__name__}, not a Tool"
        if not isinstance(tool, Tool)
        else f"TOOLS[{name!r}] is a Tool named {tool.name!r}, give both the same name"
        for name, tool in found.items()
        if not isinstance(tool, Tool) or tool.name != name
    ]
    if problems:
        raise ConfigError(problems, source=_file(module))
    return dict(found)


def _file(module: ModuleType) -> str:
    return Path(getattr(module, "__file__", None) or module.__name__).name
