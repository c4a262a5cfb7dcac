"""The README and the plan of the house say what is there: the example shop, every command, setting, room and library."""

from __future__ import annotations

import argparse
import inspect
import re
import tomllib
from collections.abc import Iterator

from ftpgate import cli, settings
from ftpgate.grants import Bridge
from tests.support.tools import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PLAN = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")][2:]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    """Every command of a parser, as its words."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield ()
    for name, below in (item for group in groups for item in group.choices.items()):
        for words in commands(below):
            yield (name, *words)


def rooms() -> Iterator[str]:
    """The paths in the plan, files and folders."""
    folders: list[str] = []
    for line in section(PLAN, "Rooms").split("```")[1].splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        depth = (len(line) - len(line.lstrip())) // 2
        for name in names:
            yield "".join(folders[:depth]) + name
        folders[depth:] = names[:1]


def test_the_readme_shows_the_example_shop() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown == [(ROOT / "tests" / "api" / "example_shop.py").read_text(encoding="utf-8")]


def test_the_readme_explains_every_setting() -> None:
    explained = [f"FTPGATE_{name}" for row in rows(section(README, "Settings")) for name in quoted(row[0])]
    assert sorted(explained) == sorted(settings.NAMES)


def test_the_readme_lists_every_command() -> None:
    there = set(commands(cli._parser()))
    listed = set()
    for row in rows(section(README, "Running it")):
        group = ""
        for shown in quoted(row[0]):
            words = tuple(re.match(r"[a-z ]*", shown.removeprefix("ftpgate "))[0].split())  # type: ignore[index]
            listed.add(words if words in there else (group, *words))
            group = group or words[0]
    assert listed == there


def test_every_room_of_the_plan_is_there() -> None:
    planned = list(rooms())
    assert [path for path in planned if not (ROOT / path).exists()] == []
    for room in ("proof", "net", "shaping", "access", "delivery", "ftp"):
        there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ftpgate" / room).glob("[a-z]*.py")}
        assert there <= set(planned)


def test_the_plan_gives_a_reason_for_every_library() -> None:
    named = {
        name for row in rows(section(PLAN, "Libraries, and why each")) for name in row[0].removesuffix(" 5.2 LTS").split(", ")
    }
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert named == {re.match(r"[\w-]+", line)[0] for line in required}  # type: ignore[index]


def test_the_plan_counts_the_methods_of_the_bridge() -> None:
    methods = [name for name, _ in inspect.getmembers(Bridge, inspect.isfunction) if not name.startswith("_")]
    assert f"a `Bridge` of {COUNTS[len(methods)]} methods" in PLAN


def test_the_plan_has_every_package_of_the_portal() -> None:
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "webportal").glob("*/__init__.py")}
    assert packages <= {path.removesuffix("/") for path in rooms()}
