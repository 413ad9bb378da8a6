"""The input of an execution is checked before anything is sent."""

import io
import sys

import pytest

from hive_cli.failures import Failure
from hive_cli.inputs import read_input, read_text
from hive_cli.options import Page, Window, reference, whole_number


def refused(source, assignments=()):
    with pytest.raises(Failure) as caught:
        read_input(str(source), list(assignments))
    assert caught.value.exit_code == 2
    return caught.value.message


@pytest.fixture
def stdin(monkeypatch):
    def put(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


def test_a_file_with_an_object_is_the_input(tmp_path):
    (tmp_path / "q.json").write_bytes(b'\xef\xbb\xbf{"a": {"b": 1}}')
    assert read_input(str(tmp_path / "q.json"), []) == {"a": {"b": 1}}


def test_a_text_is_read_as_it_is(tmp_path, stdin):
    (tmp_path / "body").write_bytes(b"\xef\xbb\xbf a\r\n{\n")
    assert read_text(str(tmp_path / "body"), option="--payload") == "\ufeff a\r\n{\n"
    stdin(b"\xff")
    with pytest.raises(Failure, match="--payload standard input: is not UTF-8 text, see byte 0"):
        read_text("-", option="--payload")


def test_without_a_source_the_input_is_empty_and_stdin_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert read_input("", []) == {}


def test_a_dash_reads_standard_input(stdin):
    stdin(b'{"a": 1}')
    assert read_input("-", []) == {"a": 1}


def test_assignments_win_over_the_file(stdin):
    stdin(b'{"a": 1, "limits": {"cpu": 1}}')
    assert read_input("-", ["a=2", "limits.mem=x y", "list=[1, 2]", "e=", "n=NaN", "q=a=b"]) == {
        "a": 2,
        "limits": {"cpu": 1, "mem": "x y"},
        "list": [1, 2],
        "e": "",
        "n": "NaN",
        "q": "a=b",
    }


def test_a_missing_file_is_named(tmp_path):
    assert refused(tmp_path / "q.json") == f"--input {tmp_path}/q.json: there is no such file"


def test_a_directory_is_not_a_file(tmp_path):
    assert refused(tmp_path) == f"--input {tmp_path}: is a directory, not a JSON file"


def test_a_name_that_cannot_be_a_file_is_refused():
    assert refused("a\0b") == "--input a\0b: is not a file name"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b'{"a": }', "is not JSON: Expecting value at line 1, column 7"),
        (b'{"a": NaN}', "is not JSON: NaN is not a JSON number"),
        (b"\xff{}", "is not UTF-8 text, see byte 0"),
        (b"[1]", "holds a list, not a JSON object"),
        (b'"x"', "holds a string, not a JSON object"),
        (b"3", "holds a number, not a JSON object"),
        (b"true", "holds true or false, not a JSON object"),
        (b"null", "holds null, not a JSON object"),
        (b" " * (16 * 1024 * 1024 + 1), "is larger than 16 MiB"),
    ],
)
def test_what_is_not_an_object_is_refused_with_the_reason(stdin, content, complaint):
    stdin(content)
    assert refused("-") == f"--input standard input: {complaint}"


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a": ' + b"9" * 10_000 + b"}"])
def test_a_bomb_is_refused(stdin, content):
    stdin(content)
    assert "is not JSON" in refused("-")


@pytest.mark.parametrize("assignment", ["a", "=b", "a..b=1", ".a=1", ""])
def test_what_is_not_an_assignment_is_refused(assignment):
    assert refused("", [assignment]) == f"--set {assignment}: is not KEY=VALUE"


def test_a_key_below_a_value_is_refused():
    assert refused("", ["a.b=1", "a.b.c=2"]) == "--set a.b.c=2: a.b is not an object"


@pytest.mark.parametrize(
    ("window", "start"),
    [
        (Window(), (None, 50)),
        (Window(last="0"), (None, 0)),
        (Window(from_seq="7"), (6, None)),
        (Window(from_seq="0"), (0, None)),
    ],
)
def test_where_a_tail_begins(window, start):
    assert window.start() == start


def test_two_beginnings_are_one_too_many():
    with pytest.raises(Failure, match="exclude each other"):
        Window("5", "7").start()


@pytest.mark.parametrize("text", ["", "-1", "1.5", "five", "٥", "9" * 30])
def test_what_is_not_a_whole_number_is_named(text):
    with pytest.raises(Failure, match="is not a whole number"):
        whole_number("--limit", text)


def test_a_page():
    assert Page().query() == {"limit": 50}
    assert Page("7", "abc").query() == {"limit": 7, "cursor": "abc"}


def test_a_path_is_not_an_id():
    with pytest.raises(Failure, match="is not the id of an execution") as caught:
        reference("../../etc/passwd", "execution")
    assert caught.value.exit_code == 2
