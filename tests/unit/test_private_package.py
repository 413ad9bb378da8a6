"""The modules of a folder under a name of their own."""

import os
import sys
import traceback

import pytest

from hive_daemon.private_package import PrivatePackage


@pytest.fixture
def open_package():
    """Opens a folder with these files, `{path: source}`, and closes it afterwards."""
    opened = []

    def make(folder, **files):
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            path = folder / f"{name.replace('__in_', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        opened.append(PrivatePackage(folder))
        return opened[-1]

    yield make
    for package in opened:
        package.close()


def test_relative_imports_work(tmp_path, open_package):
    package = open_package(
        tmp_path / "a", agent="from .config import X\nfrom . import config", config="X = 1"
    )
    assert package.load("agent").X == 1


@pytest.mark.parametrize(
    "source",
    [
        "from reports.config import X",
        "import reports.config\nX = reports.config.X",
        "import reports.config as c\nX = c.X",
        "import reports\nfrom reports import config\nX = reports.config.X",
        "import os, reports.config\nX = reports.config.X",
        "def late():\n    from reports.config import X\n    return X\nX = late()",
    ],
)
def test_absolute_imports_by_the_name_of_the_folder_work(tmp_path, open_package, source):
    package = open_package(tmp_path / "reports", agent=source, config="X = 1")
    assert package.load("agent").X == 1


def test_an_import_inside_a_function_works_after_loading(tmp_path, open_package):
    source = (
        "def late():\n    from reports.config import X\n    from .config import Y\n    return X, Y"
    )
    package = open_package(tmp_path / "reports", agent=source, config="X = 1\nY = 2")
    assert package.load("agent").late() == (1, 2)


def test_two_folders_with_equal_modules_do_not_meet(tmp_path, open_package):
    source = "from twin.config import X"
    one = open_package(tmp_path / "1" / "twin", agent=source, config="X = 1")
    two = open_package(tmp_path / "2" / "twin", agent=source, config="X = 2")
    assert (one.load("agent").X, two.load("agent").X) == (1, 2)


def test_two_loads_of_one_folder_do_not_meet(tmp_path, open_package):
    one = open_package(tmp_path / "a", agent="SEEN = []")
    two = open_package(tmp_path / "a")
    assert one.load("agent").SEEN is not two.load("agent").SEEN


def test_neither_the_path_nor_the_folder_is_changed(tmp_path, open_package):
    before = list(sys.path)
    package = open_package(tmp_path / "a", agent="from .config import X", config="X = 1")
    package.load("agent")
    assert sys.path == before
    assert sorted(os.listdir(tmp_path / "a")) == ["agent.py", "config.py"]


def test_only_private_names_are_added_to_the_modules(tmp_path, open_package):
    before = set(sys.modules)
    package = open_package(tmp_path / "mine", agent="import mine.config", config="")
    package.load("agent")
    added = set(sys.modules) - before
    assert added == {package.name, f"{package.name}.agent", f"{package.name}.config"}


def test_the_init_module_is_the_package(tmp_path, open_package):
    package = open_package(tmp_path / "a", __init__="from .agent import X", agent="X = 1")
    assert package.load().X == 1


def test_a_folder_called_like_the_standard_library_does_not_hide_it(tmp_path, open_package):
    package = open_package(tmp_path / "json", agent="import json\nX = json.dumps(1)")
    assert package.load("agent").X == "1"


def test_a_submodule_that_the_folder_lacks_is_looked_for_elsewhere(tmp_path, open_package):
    package = open_package(tmp_path / "pydantic", agent="from pydantic.fields import FieldInfo")
    assert package.load("agent").FieldInfo.__name__ == "FieldInfo"


def test_packages_inside_the_folder_work(tmp_path, open_package):
    package = open_package(
        tmp_path / "a",
        nodes__in___init__="from ..config import X\nfrom .one import Y",
        nodes__in_one="Y = 2",
        config="X = 1",
    )
    nodes = package.load("nodes")
    assert (nodes.X, nodes.Y) == (1, 2)


def test_a_traceback_shows_the_file_and_its_lines(tmp_path, open_package):
    package = open_package(tmp_path / "a", agent="import a\n\nraise ValueError('here')")
    with pytest.raises(ValueError, match="here") as caught:
        package.load("agent")
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(tmp_path / "a" / "agent.py"), 3)
    assert last.line == "raise ValueError('here')"


def test_a_closed_package_leaves_nothing(tmp_path):
    before = (set(sys.modules), list(sys.meta_path))
    (tmp_path / "agent.py").write_text("def f():\n    return 1")
    package = PrivatePackage(tmp_path)
    function = package.load("agent").f
    package.close()
    package.close()
    assert (set(sys.modules), list(sys.meta_path)) == before
    assert function() == 1


def test_future_imports_and_docstrings_stay_what_they_are(tmp_path, open_package):
    source = '"""Doc."""\nfrom __future__ import annotations\nimport a.b\ndef f(x: Nowhere): ...'
    package = open_package(tmp_path / "a", agent=source, b="")
    assert package.load("agent").__doc__ == "Doc."
