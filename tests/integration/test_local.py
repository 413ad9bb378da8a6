"""The commands that need no daemon, as processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hive_daemon.local import main
from tests.agents.broken import BROKEN, GOOD, STEPS, UNSOUND, export, timer, write

ROOT = Path(__file__).parent.parent.parent
AGENTS = ROOT / "tests" / "agents"


@pytest.fixture
def local(tmp_path):
    """Runs a command and gives its exit code, its output and its complaints."""

    def run(*arguments, **environ):
        kept = {key: value for key, value in os.environ.items() if "HIVE" not in key}
        done = subprocess.run(
            [sys.executable, "-m", "hive_daemon.local", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**kept, "HOME": str(tmp_path), "ANTHROPIC_API_KEY": "", **environ},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def folder(tmp_path):
    def copied(name):
        ignored = shutil.ignore_patterns("__pycache__")
        return shutil.copytree(AGENTS / name, tmp_path / name, ignore=ignored)

    return copied


def hive_yaml(tmp_path, text):
    path = tmp_path / "hive.yaml"
    path.write_text(text)
    return path


# --- agents validate ----------------------------------------------------------------------------


def test_a_sound_module_folder_is_valid_and_the_command_says_that_it_was_executed(local, folder):
    code, output, _ = local("agents", "validate", folder("inbox_triage"))
    assert (code, output.splitlines()) == (
        0,
        [
            "inbox_triage: ok (module form, its code was executed in a process of its own)",
            "  entry points: default (manual), mail-timer (timer)",
        ],
    )


def test_a_sound_json_folder_is_valid_and_nothing_was_executed(local, folder):
    code, output, _ = local("agents", "validate", folder("lead_report"), "--json")
    document = json.loads(output)
    assert (code, document["valid"], document["executed"]) == (0, True, False)
    assert [each["id"] for each in document["entry_points"]] == ["default", "nightly", "on-failure"]


def test_everything_that_is_wrong_is_told_at_once(local, tmp_path):
    files = {
        "agent.py": GOOD.replace("function=", "tools=['search'], input_keys=['y'], function="),
        "steps.py": STEPS,
        "triggers.json": timer(cron="61 * * * *"),
    }
    code, output, _ = local("agents", "validate", write(tmp_path / "a", files))
    assert code == 2
    assert output.splitlines()[0].startswith("a: 2 errors (module form")
    assert "  error: entry point 't': trigger_config.cron: " in output
    assert "  error: nobody offers the tool 'search' (nodes: a)" in output


@pytest.mark.parametrize("kind", [*BROKEN, *UNSOUND])
def test_every_fault_of_a_broken_folder_is_named_at_once(tmp_path, monkeypatch, capsys, kind):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "HIVE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    files, errors, *warnings = (*BROKEN.get(kind, ()), *UNSOUND.get(kind, ()))
    code = main(["agents", "validate", str(write(tmp_path / kind, files)), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["errors"]) == (2, errors)
    assert document["warnings"] == (warnings[0] if warnings else document["warnings"])


def test_broken_tools_are_not_also_missing(local, tmp_path):
    files = {"agent.json": export(nodes=[{"id": "a", "tools": ["t"]}]), "tools.py": "def t(:\n"}
    _, output, _ = local("agents", "validate", write(tmp_path / "a", files), "--json")
    assert json.loads(output)["errors"] == [
        "tools.py: cannot be read: tools.py line 1: SyntaxError: invalid syntax"
    ]


def test_a_tool_that_nobody_offers_is_an_error(local, tmp_path):
    path = write(tmp_path / "a", {"agent.json": export(nodes=[{"id": "a", "tools": ["search"]}])})
    code, output, _ = local("agents", "validate", path)
    assert code == 2
    assert "error: nobody offers the tool 'search' (nodes: a)" in output


def test_graph_warnings_and_missing_keys_are_told_and_do_not_fail(local, tmp_path):
    nodes = [{"id": "a"}, {"id": "island"}]
    path = write(tmp_path / "a", {"agent.json": export(nodes=nodes)})
    code, output, _ = local("agents", "validate", path)
    assert code == 0
    assert "warning: agent.json: nodes[1] 'island': no way leads here" in output
    assert "needs a key, set ANTHROPIC_API_KEY" in output


def test_a_failure_is_one_json_document(local, tmp_path):
    code, output, _ = local("agents", "validate", tmp_path / "nowhere", "--json")
    document = json.loads(output)
    assert (code, document["valid"], document["form"]) == (2, False, "")
    assert document["error"] == {
        "code": "agent_load",
        "message": f"{tmp_path}/nowhere: does not exist",
        "hint": "docs/agents.md describes agent folders",
    }


def test_what_an_agent_prints_is_not_in_the_document(local, tmp_path):
    files = {"agent.py": "print('hello')\n" + GOOD, "steps.py": STEPS}
    code, output, complaints = local("agents", "validate", write(tmp_path / "a", files), "--json")
    assert (code, json.loads(output)["valid"], complaints) == (0, True, "hello\n")


def test_control_characters_of_an_agent_are_shown_as_escapes(local, tmp_path):
    path = write(tmp_path / "a", {"agent.json": export(nodes=[{"id": "a", "tools": ["\x1b[2J"]}])})
    _, output, _ = local("agents", "validate", path)
    assert "\x1b" not in output


def test_a_reader_that_leaves_early_is_no_failure(folder, tmp_path):
    command = f"{sys.executable} -m hive_daemon.local config show | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- agents graph -------------------------------------------------------------------------------


def test_a_graph_is_drawn(local, folder):
    code, output, _ = local("agents", "graph", folder("review_desk"))
    assert (code, output.splitlines()) == (
        0,
        [
            "╭───▶ draft    event_loop  begins default",
            "│ ╭── on success → review",
            "│ │",
            "│ ╰─▶ review   human_input  asks people",
            "│ ╭── if answer == 'yes', priority 2 → publish",
            "╰─┼── if answer != 'yes', priority -1 → draft",
            "  │",
            "  ╰─▶ publish  function  ends",
        ],
    )


def test_a_graph_is_drawn_in_ascii_where_nothing_else_can_be_shown(local, folder):
    _, output, _ = local("agents", "graph", folder("review_desk"), PYTHONIOENCODING="ascii")
    assert output.splitlines()[0] == "+---> draft    event_loop  begins default"


def test_a_graph_is_written_as_mermaid_and_as_json(local, folder):
    path = folder("lead_report")
    _, output, _ = local("agents", "graph", path, "--mermaid")
    assert output.splitlines()[:2] == [
        "flowchart TD",
        '    n0["score<br>begins default, nightly (timer)"]',
    ]
    _, output, _ = local("agents", "graph", path, "--json")
    document = json.loads(output)
    assert (document["name"], document["graph_id"]) == ("lead_report", "lead-report-graph")
    assert [node["id"] for node in document["nodes"]] == ["score", "report", "reject"]
    assert document["edges"][0]["label"] == "if good == True"


def test_a_folder_that_cannot_be_read_is_not_drawn(local, tmp_path):
    path = write(tmp_path / "a", {"agent.py": "nodes = []\n"})
    code, output, _ = local("agents", "graph", path)
    assert (code, "goal is missing" in output) == (2, True)


def test_a_name_that_commands_a_terminal_is_drawn_as_an_escape(local, tmp_path):
    nodes = [{"id": "a", "tools": ["\x1b[2J"]}]
    _, output, _ = local(
        "agents", "graph", write(tmp_path / "a", {"agent.json": export(nodes=nodes)})
    )
    assert "\x1b" not in output


# --- config check and show ----------------------------------------------------------------------


def test_a_sound_configuration_is_checked_with_its_agents(local, tmp_path, folder):
    path = hive_yaml(
        tmp_path, f"agents:\n  - {folder('inbox_triage')}\n  - {folder('lead_report')}\n"
    )
    code, output, _ = local("config", "check", "--config", path, "--json")
    document = json.loads(output)
    assert (code, document["valid"], document["file"]) == (0, True, str(path))
    assert [each["name"] for each in document["agents"]] == ["inbox_triage", "lead_report"]


def test_a_fault_of_the_file_and_its_remedy_are_told(local, tmp_path):
    path = hive_yaml(tmp_path, "agnets: []\n")
    code, output, _ = local("config", "check", "--config", path)
    assert code == 2
    assert "agnets" in output
    assert "agents" in output
    code, output, _ = local("config", "check", "--config", path, "--json")
    document = json.loads(output)
    assert (code, document["valid"], document["error"]["code"]) == (2, False, "config")


def test_a_fault_of_a_folder_is_told_with_the_agents_name(local, tmp_path):
    broken = write(tmp_path / "broken", {"agent.py": "nodes = []\n"})
    path = hive_yaml(tmp_path, f"agents:\n  - path: {broken}\n    name: reports\n")
    code, output, _ = local("config", "check", "--config", path)
    assert code == 2
    assert "reports: 2 errors" in output
    assert f"{path}: 2 errors" in output


def test_what_the_file_lays_over_a_folder_is_checked_with_it(local, tmp_path, folder):
    text = (
        f"agents:\n  - path: {folder('lead_report')}\n    entry_points:\n"
        "      nightly: {trigger_config: {cron: 'soon'}}\n"
    )
    code, output, _ = local("config", "check", "--config", hive_yaml(tmp_path, text))
    assert code == 2
    assert "cron" in output


def test_no_file_at_all_is_sound(local):
    code, output, _ = local("config", "check")
    assert (code, output) == (0, "no file, the defaults hold: ok\n")


def test_what_is_in_force_is_shown_with_its_source_and_without_secrets(local, tmp_path):
    path = hive_yaml(tmp_path, "timezone: Europe/Berlin\nllm: {api_key: sk-very-secret-indeed}\n")
    code, output, _ = local("config", "show", "--config", path, HIVE_LOG__LEVEL="DEBUG")
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()}
    assert code == 0
    assert rows["timezone"] == ['"Europe/Berlin"', "file"]
    assert rows["log.level"] == ['"DEBUG"', "env", "HIVE_LOG__LEVEL"]
    assert rows["llm.api_key"] == ['"***"', "file"]
    assert "very-secret" not in output


def test_showing_loads_no_agent_and_no_runtime(tmp_path):
    report = "import sys; from hive_daemon.local import main; main(['config', 'show']); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "hive_daemon.daemon" not in done.stdout


@pytest.mark.parametrize("arguments", [[], ["agents"], ["agents", "validate"], ["nothing"]])
def test_wrong_usage_is_exit_2(local, arguments):
    assert local(*arguments)[0] == 2


# --- agents validate --probe --------------------------------------------------------------------


def wanting(tmp_path, *tools, **servers):
    folder = tmp_path / "agent"
    folder.mkdir()
    node = {"id": "a", "tools": list(tools)}
    write(folder, {"agent.json": export(nodes=[node], default_model="scripted")})
    declared(folder, **servers)
    return folder


def validated(local, folder, *options):
    code, output, _ = local("agents", "validate", folder, "--json", *options)
    report = json.loads(output)
    return code, report["errors"], report["warnings"]


def test_what_is_left_to_servers_is_told_without_starting_them(local, tmp_path):
    folder = wanting(tmp_path, "ok", "other", gone={"command": "no-such-command-of-hive"})
    said = "ok, other: left to the MCP servers (gone), --probe asks them"
    assert validated(local, folder) == (0, [], [said])


def test_a_probe_finds_the_tools_that_no_server_offers(local, tmp_path):
    folder = wanting(tmp_path, "ok", "other", tiny=hand_made())
    said = "no MCP server offers the tool 'other' (nodes: a)"
    assert validated(local, folder, "--probe") == (2, [said], [])


def test_a_server_that_does_not_answer_a_probe_is_a_warning(local, tmp_path):
    folder = wanting(tmp_path, "ok", gone={"command": "no-such-command-of-hive"})
    code, errors, warnings = validated(local, folder, "--probe")
    assert (code, errors) == (0, [])
    assert warnings[0].startswith("the MCP server 'gone' does not answer: ")
    assert warnings[1] == "no MCP server that answers offers the tool 'ok' (nodes: a)"


def test_a_probe_leaves_no_process_behind(local, tmp_path):
    mark = f"--of={tmp_path}"
    tiny = hand_made()
    folder = wanting(tmp_path, "ok", tiny={**tiny, "args": [*tiny["args"][:-1], mark]})
    assert validated(local, folder, "--probe") == (0, [], [])
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [words for words in running if mark.encode() in words]


# --- mcp probe ----------------------------------------------------------------------------------


def declared(tmp_path, **servers):
    path = tmp_path / "mcp_servers.json"
    path.write_text(json.dumps(servers))
    return path


def hand_made(mode="good"):
    tiny = ROOT / "tests" / "fakes" / "mcp_tiny.py"
    return {"command": sys.executable, "args": ["-I", "-S", str(tiny), mode, ""]}


def test_the_servers_of_a_folder_are_probed_and_their_tools_listed(local, tmp_path):
    declared(tmp_path, tiny=hand_made())
    code, output, complaints = local("mcp", "probe", tmp_path)
    assert (code, complaints) == (0, "")
    first, *tools = output.splitlines()
    assert first.startswith("tiny: ready (stdio, ")
    assert any(line.startswith("  ok: ") for line in tools)


def test_a_server_that_does_not_come_is_named_with_the_reason(local, tmp_path):
    path = declared(tmp_path, gone={"command": "no-such-command-of-hive"}, tiny=hand_made())
    code, output, _ = local("mcp", "probe", path, "--json")
    document = json.loads(output)
    assert code == 1
    assert [server["state"] for server in document["items"]] == ["degraded", "ready"]
    assert document["error"]["message"].startswith("gone: ")
    assert local("mcp", "probe", path, "--server", "tiny")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.json",), "nowhere.json: there is no such file"),
        (("{empty}",), "{empty}/mcp_servers.json: there is no such file"),
        (("{path}", "--server", "other"), "hint: it declares tiny"),
    ],
)
def test_what_cannot_be_probed_is_refused(local, tmp_path, words, said):
    path, empty = declared(tmp_path, tiny=hand_made()), tmp_path / "empty"
    empty.mkdir()
    places = {"path": path, "empty": empty}
    code, output, _ = local("mcp", "probe", *(word.format(**places) for word in words))
    assert code == 2
    assert said.format(**places) in output
