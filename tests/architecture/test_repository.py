"""The repository speaks of the product alone, and promises nothing that is missing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXTS = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".sh", ".service", ".cfg", ""}


def texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    found = [ROOT / name for name in listed] or [
        p for p in ROOT.rglob("*") if ".venv" not in p.parts
    ]
    return [path for path in found if path.is_file() and path.suffix in TEXTS]


def test_no_file_names_a_machine_or_a_registry() -> None:
    foreign = re.compile(
        r"/work/(main|shared)|/opt/(pypi|wheels)|pypi\.org|files\.pythonhosted|/root/"
    )
    here = Path(__file__)
    named = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        if path != here
        for match in foreign.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert named == []


def test_nothing_promises_what_is_missing() -> None:
    soft = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b|pytest\.mark\.(skip|xfail)\b")
    here = Path(__file__)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        if path.suffix == ".py" and path != here
        for match in soft.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
