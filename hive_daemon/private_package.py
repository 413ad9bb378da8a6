"""The Python modules of a folder, imported under a name that nothing else in the process has.

Guarantees: two folders with equal names and modules never meet, nor do two loads of one folder; neither `sys.path` nor
the folder is changed (no bytecode is written); imports work as if the folder's parent were on the path, also
those that are made later inside functions: relative ones, and absolute ones that begin with the folder's name.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_numbers = itertools.count(1)


class PrivatePackage:
    """One folder as a package. `load` executes what it imports; `close` forgets all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        word = "".join(char if char.isalnum() else "_" for char in self.folder.name)
        self.name = f"_hive_folder_{next(_numbers)}_{word}"
        _finder.add(self)
        # What Python remembers of the folder's files may be older than they are.
        importlib.invalidate_caches()

    def load(self, module: str = "") -> ModuleType:
        """Import a module of the folder by its dotted name, "" for the package itself (its `__init__.py`).

        Raises whatever the module raises.
        """
        return importlib.import_module(f"{self.name}.{module}" if module else self.name)

    def has(self, module: str) -> bool:
        """Say whether the folder has a module of this dotted name. Nothing is executed."""
        place = self.folder.joinpath(*module.split("."))
        return place.with_name(f"{place.name}.py").is_file() or place.is_dir()

    def owns(self, module: ModuleType) -> bool:
        """Say whether the module was imported from here."""
        return module.__name__.partition(".")[0] == self.name

    def close(self) -> None:
        """Forget the modules. What still uses their functions goes on, but imports no more of them."""
        _finder.remove(self)
        for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
            del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds the modules of all open packages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._packages: dict[str, PrivatePackage] = {}

    def add(self, package: PrivatePackage) -> None:
        with self._lock:
            if not self._packages:
                sys.meta_path.insert(0, self)
            self._packages[package.name] = package

    def remove(self, package: PrivatePackage) -> None:
        with self._lock:
            if self._packages.pop(package.name, None) is not None and not self._packages:
                sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a package or a module in it; native modules are left as the import system finds them."""
        package = self._packages.get(fullname.partition(".")[0])
        if package is None:
            return None
        if fullname == package.name:
            return _root_spec(package)
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _SourceLoader(fullname, spec.loader.path, package)
        return spec


_finder = _Finder()


def _root_spec(package: PrivatePackage) -> ModuleSpec:
    source = package.folder / "__init__.py"
    loader: Loader = _EmptyLoader()
    if source.is_file():
        loader = _SourceLoader(package.name, str(source), package)
    spec = ModuleSpec(package.name, loader, origin=str(source), is_package=True)
    spec.has_location = source.is_file()
    spec.submodule_search_locations = [str(package.folder)]
    return spec


class _EmptyLoader(Loader):
    """Loads a package that has no `__init__.py`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        return None


class _SourceLoader(SourceFileLoader):
    """Compiles a module each time, with the imports of its own folder bound to the private name."""

    def __init__(self, fullname: str, path: str, package: PrivatePackage) -> None:
        super().__init__(fullname, path)
        self._package = package

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        bound = _OwnImports(self._package).visit(tree)
        return compile(ast.fix_missing_locations(bound), path, "exec", dont_inherit=True)


class _OwnImports(ast.NodeTransformer):
    """Makes `import folder.x` and `from folder.x import y` mean the private package.

    A folder that is called like a module of the standard library means that module, and a submodule that the folder
    does not have is looked for elsewhere.
    """

    def __init__(self, package: PrivatePackage) -> None:
        self._package = package
        name = package.folder.name
        self._own = name if name.isidentifier() and name not in sys.stdlib_module_names else ""

    def visit_Import(self, node: ast.Import) -> Any:
        return [
            ast.copy_location(each, node) for name in node.names for each in self._imports(name)
        ]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level == 0 and node.module is not None and self._is_own(node.module):
            node.module = self._private(node.module)
        return node

    def _imports(self, name: ast.alias) -> list[ast.Import]:
        if not self._is_own(name.name):
            return [ast.Import([name])]
        private = self._private(name.name)
        if name.asname is not None:
            return [ast.Import([ast.alias(private, name.asname)])]
        # `import folder.x` binds `folder`.
        root = ast.Import([ast.alias(self._package.name, self._own)])
        return [root] if name.name == self._own else [ast.Import([ast.alias(private)]), root]

    def _is_own(self, module: str) -> bool:
        head, _, rest = module.partition(".")
        return bool(self._own) and head == self._own and (not rest or self._package.has(rest))

    def _private(self, module: str) -> str:
        return self._package.name + module.removeprefix(self._own)
