from pathlib import Path

import pytest

from hive_daemon.config.agent_model import AgentConfig, HttpMethod
from hive_daemon.config.load import ConfigSources
from hive_daemon.config.model import LogLevel, Mirror
from hive_daemon.errors import ConfigError
from tests.fakes.config_place import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_without_any_file_the_defaults_hold_and_no_agent_runs(place):
    loaded = place.load()
    assert (loaded.path, loaded.config.agents, loaded.warnings) == (None, (), ())
    assert set(loaded.provenance.values()) == {"default"}


def test_the_named_file_wins_over_the_variable_the_own_and_the_systems(place):
    for name, path in (("flag", place.cwd / "a.yaml"), ("variable", place.home / "b.yaml")):
        path.write_text(f"llm: {{model: {name}}}")
    place.system_file.write_text("llm: {model: system}")
    assert place.load().config.llm.model == "system"
    assert place.load("llm: {model: own}").config.llm.model == "own"
    assert place.load(HIVE_CONFIG="~/b.yaml").config.llm.model == "variable"
    assert place.load(config_file="a.yaml", HIVE_CONFIG="~/b.yaml").config.llm.model == "flag"


def test_the_own_file_follows_xdg_config_home(place, tmp_path):
    (tmp_path / "xdg" / "hive").mkdir(parents=True)
    (tmp_path / "xdg" / "hive" / "hive.yaml").write_text("timezone: Europe/Berlin")
    assert place.load(XDG_CONFIG_HOME=str(tmp_path / "xdg")).config.timezone == "Europe/Berlin"
    assert place.load("timezone: UTC", XDG_CONFIG_HOME="relative").config.timezone == "UTC"


def test_a_named_file_that_does_not_exist_is_an_error(place):
    with pytest.raises(ConfigError) as caught:
        place.load(config_file="none.yaml")
    sentence = "does not exist, correct the file or the path (--config, HIVE_CONFIG)"
    assert str(caught.value) == f"{place.cwd}/none.yaml: {sentence}"


def test_flags_win_over_variables_those_over_the_file_and_that_over_the_defaults(place):
    text = "log: {level: ERROR, format: human}\nmirror: off\ntimezone: Europe/Berlin\n"
    flags = {"log.level": "debug", "socket": None}
    loaded = place.load(text, flags=flags, HIVE_LOG__LEVEL="WARNING", HIVE_MIRROR="state")
    config = loaded.config
    assert (config.log.level, config.mirror, config.log.format) == (
        LogLevel.DEBUG,
        Mirror.STATE,
        "human",
    )
    sources = {
        key: loaded.provenance[key] for key in ("log.level", "mirror", "timezone", "http.listen")
    }
    assert sources == {
        "log.level": "flag",
        "mirror": "env HIVE_MIRROR",
        "timezone": "file",
        "http.listen": "default",
    }


def test_a_variable_replaces_a_list_whole(place):
    loaded = place.load("agents: [/a, /b]", HIVE_AGENTS="[{path: /c, name: see}]")
    assert [agent.agent_name for agent in loaded.config.agents] == ["see"]
    assert loaded.provenance["agents[0].path"] == "env HIVE_AGENTS"


def test_relative_paths_begin_at_the_file_those_of_flags_and_variables_at_the_working_directory(
    place,
):
    loaded = place.load(
        "agents: [../../agents/a, {path: ~/b}]\nstate_dir: state\n",
        flags={"socket": "s.sock"},
        HIVE_STATE_DIR="st",
    )
    config = loaded.config
    assert [agent.path for agent in config.agents] == [
        place.home / "agents" / "a",
        place.home / "b",
    ]
    assert (config.state_dir, config.socket) == (place.cwd / "st", place.cwd / "s.sock")


def test_a_process_brings_its_own_surroundings(place, monkeypatch):
    monkeypatch.chdir(place.cwd)
    monkeypatch.setenv("HOME", str(place.home))
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/hive")
    sources = ConfigSources.of_process("hive.yaml", {"log.level": "DEBUG"})
    assert (sources.cwd, sources.home) == (place.cwd, place.home)
    assert (sources.config_file, sources.environ["STATE_DIRECTORY"]) == (
        "hive.yaml",
        "/var/lib/hive",
    )


def test_the_state_directory_is_systemds_else_below_home(place):
    assert place.load().config.state_dir == place.home / ".hive"
    assert place.load(STATE_DIRECTORY="/var/lib/hive:/var/lib/other").config.state_dir == Path(
        "/var/lib/hive"
    )


@pytest.mark.parametrize(
    ("environ", "socket"),
    [
        (
            {"RUNTIME_DIRECTORY": "/run/hive", "XDG_RUNTIME_DIR": "/run/user/1"},
            "/run/hive/hived.sock",
        ),
        ({"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/hive/hived.sock"),
        ({"HIVE_STATE_DIR": "/s"}, "/s/hived.sock"),
        ({"HIVE_SOCKET": "/x.sock", "RUNTIME_DIRECTORY": "/run/hive"}, "/x.sock"),
    ],
)
def test_the_socket_is_where_the_process_runs(place, environ, socket):
    assert place.load(**environ).config.socket == Path(socket)


def test_a_socket_path_that_the_system_cannot_bind_is_refused(place):
    assert "has 108 bytes, a socket's path may have 107" in place.problem(f"socket: /{'x' * 107}")


def test_an_agent_may_be_a_path_or_a_mapping(place):
    text = """
agents:
  - /srv/a
  - path: /srv/b
    name: beta
    model: scripted
    entry_points:
      daily: {trigger_type: timer, trigger_config: {cron: "0 9 * * *", paused: null}, max_concurrent: 1, timeout: 5}
    webhook_routes:
      - {source_id: gh, path: /gh, methods: [post, PUT], allow_insecure: true}
"""
    first, second = place.load(text).config.agents
    assert first == AgentConfig(path=Path("/srv/a"))
    assert (second.agent_name, second.model) == ("beta", "scripted")
    daily = second.entry_points["daily"]
    assert daily.trigger_config == {"cron": "0 9 * * *", "paused": None}
    assert (daily.trigger_type, daily.timeout, daily.enabled) == ("timer", 5.0, None)
    assert second.webhook_routes[0].methods == (HttpMethod.POST, HttpMethod.PUT)


def test_two_agents_of_one_name_are_refused(place):
    text = "agents:\n  - /srv/a\n  - /opt/a\n  - {path: /srv/b, name: a}\n"
    assert place.problems(text) == (
        'agents[1].path: "/opt/a" gives the name that agents[0] has, give this one another name (line 3)',
        'agents[2].name: "a" gives the name that agents[0] has, give this one another name (line 4)',
    )


def test_a_folder_whose_name_cannot_be_an_agents_needs_another(place):
    problem = place.problem("agents: ['/srv/my agent']")
    assert problem.startswith(
        'agents[0].path: the last part of "/srv/my agent" cannot be an agent\'s name'
    )
    assert (
        place.load("agents: [{path: '/srv/my agent', name: mine}]").config.agents[0].agent_name
        == "mine"
    )


def test_a_webhook_path_belongs_to_one_route_of_the_whole_file(place):
    route = "webhook_routes: [{source_id: s, path: /hook, secret: '${env:S}'}]"
    text = f"agents:\n  - {{path: /a, {route}}}\n  - {{path: /b, {route}}}\n"
    assert place.problem(text, S="x") == (
        'agents[1].webhook_routes[0].path: "/hook" is taken by agents[0].webhook_routes[0], '
        "choose another path (line 3)"
    )


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "[::]:80", "hooks.example.com:80"])
def test_an_unsigned_route_that_others_can_reach_is_refused(place, listen):
    text = f"http: {{listen: '{listen}'}}\nagents: [{{path: /a, webhook_routes: [{{source_id: s, path: /h}}]}}]\n"
    assert place.problem(text) == (
        f'agents[0].webhook_routes[0].secret: is missing, so "/h" would take unsigned requests on {listen}; '
        "give the route a secret, listen on 127.0.0.1, or set allow_insecure: true (line 2)"
    )


@pytest.mark.parametrize(
    ("listen", "more"),
    [
        ("127.0.0.1:80", ""),
        ("0.0.0.0:80", ", allow_insecure: true"),
        ("0.0.0.0:80", ", secret: '${env:S}'"),
    ],
)
def test_a_route_that_is_signed_local_or_allowed_is_accepted(place, listen, more):
    route = f"{{source_id: s, path: /h{more}}}"
    text = f"http: {{listen: '{listen}'}}\nagents: [{{path: /a, webhook_routes: [{route}]}}]\n"
    assert place.load(text, S="x").config.agents[0].webhook_routes[0].path == "/h"
