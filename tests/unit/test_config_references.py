from pathlib import Path

import pytest

from hive_daemon.config.references import MAX_FILE_BYTES, Surroundings, is_literal, resolve
from hive_daemon.errors import ConfigError


def around(base: Path, **environ: str) -> Surroundings:
    return Surroundings(environ, base, base / "home")


def refusal(text: str, surroundings: Surroundings) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(text, surroundings)
    return str(caught.value)


def test_variables_stand_in_the_place_of_their_references(tmp_path):
    assert (
        resolve("https://${env:HOST}:${env:PORT}/v1", around(tmp_path, HOST="h", PORT="1"))
        == "https://h:1/v1"
    )


def test_a_file_yields_its_text_without_one_newline_at_its_end(tmp_path):
    (tmp_path / "key").write_text("abc\n\n")
    (tmp_path / "windows").write_bytes(b"\xef\xbb\xbfabc\r\n")
    assert resolve("${file:key}", around(tmp_path)) == "abc\n"
    assert resolve("${file:windows}", around(tmp_path)) == "abc"


def test_a_files_path_may_be_absolute_below_home_or_made_of_variables(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("abc")
    surroundings = around(tmp_path, DIRECTORY=str(tmp_path / "home"))
    for text in ("${file:~/key}", f"${{file:{tmp_path}/home/key}}", "${file:${env:DIRECTORY}/key}"):
        assert resolve(text, surroundings) == "abc"


def test_what_a_reference_yields_is_not_searched_again(tmp_path):
    (tmp_path / "key").write_text("${env:OTHER}")
    surroundings = around(tmp_path, ONE="${file:/etc/passwd}", OTHER="x")
    assert resolve("${env:ONE} ${file:key}", surroundings) == "${file:/etc/passwd} ${env:OTHER}"


def test_a_doubled_dollar_stands_for_itself(tmp_path):
    assert resolve("$${env:X} $5 {x}", around(tmp_path)) == "${env:X} $5 {x}"
    assert is_literal("$${env:X}")
    assert not is_literal("a${env:X}")


def test_all_missing_references_are_told_at_once(tmp_path):
    sentence = refusal("${env:A}${env:B}", around(tmp_path))
    assert sentence == (
        "${env:A} is not set, export A before the daemon starts, or write ${file:PATH}\n"
        "${env:B} is not set, export B before the daemon starts, or write ${file:PATH}"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${file:none}", "does not exist, create it, or correct the path"),
        ("${file:.}", "is a directory"),
        ("${file:/dev/zero}", "is not a regular file"),
        ("${file:large}", "is larger than 64 KiB"),
        ("${file:binary}", "is not UTF-8 text (line 2)"),
        ("${file:}", "names no file"),
        ("${file:a\0b}", "has a name that no file can have"),
        ("${env:}", "names no variable"),
        ("${env:A-B}", "names no variable"),
        ("${HOME}", "write ${env:NAME} or ${file:PATH}"),
        ("${env:HOME", "write ${env:NAME} or ${file:PATH}"),
    ],
)
def test_a_reference_that_yields_nothing_says_why(tmp_path, text, reason):
    (tmp_path / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"x\n\xff\xfe")
    assert reason in refusal(text, around(tmp_path))


def test_a_file_of_the_largest_size_is_read(tmp_path):
    (tmp_path / "key").write_bytes(b"x" * MAX_FILE_BYTES)
    assert len(resolve("${file:key}", around(tmp_path))) == MAX_FILE_BYTES
