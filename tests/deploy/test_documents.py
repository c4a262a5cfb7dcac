"""The documents say what is there: examples, commands, settings, metrics, replies, modules, libraries. Their links work."""

from __future__ import annotations

import argparse
import inspect
import re
import runpy
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import cli, settings
from ftpgate.commands.shop import Shop
from ftpgate.ftp.commands import COMMANDS
from ftpgate.grants import Bridge
from ftpgate.http.messages import REASONS
from tests.support.tools import ROOT

PAGES = ROOT / "docs" / "pages"
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "deploy" / "README.md", *PAGES.rglob("*.md")])
PLAN = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


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


def page(name: str) -> str:
    """A page of the manual."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^(```+).*?^\1$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(document: Path) -> list[str]:
    """Where it leads to, pictures included, but for other sites."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(document)))
    return [link for link in found if not re.match(r"https?:|mailto:", link)]


def anchors(document: Path) -> set[str]:
    """The names of its headings: as MkDocs makes them in the manual, as code hosts do elsewhere."""
    headings = [re.sub(r"[`*]", "", heading) for heading in re.findall(r"^#+ (.+?) *$", prose(document), re.MULTILINE)]
    if not document.is_relative_to(PAGES):
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    plain = [unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode() for heading in headings]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in plain}


def public_methods(protocol: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")}


def modules() -> Iterator[str]:
    """The paths in the plan, files and folders."""
    folders: list[str] = []
    for line in section(PLAN, "Modules").split("```")[1].splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        depth = (len(line) - len(line.lstrip())) // 2
        for name in names:
            yield "".join(folders[:depth]) + name
        folders[depth:] = names[:1]


@pytest.mark.parametrize(("name", "example"), [("api", "webportal/api/example_shop.py"), ("bridge", "gate/example_bridge.py")])
def test_a_page_shows_its_example_as_it_is(name: str, example: str) -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)
    assert shown == [(ROOT / "tests" / example).read_text(encoding="utf-8")]


def test_every_setting_is_explained() -> None:
    explained = [f"FTPGATE_{name}" for row in rows(section(page("settings"), "All settings")) for name in quoted(row[0])]
    assert sorted(explained) == sorted(settings.NAMES)


def test_every_command_is_listed() -> None:
    there = set(commands(cli._parser()))
    listed = set()
    for row in rows(section(page("commands"), "All commands")):
        group = ""
        for shown in quoted(row[0]):
            words = tuple(re.match(r"[a-z ]*", shown.removeprefix("ftpgate "))[0].split())  # type: ignore[index]
            listed.add(words if words in there else (group, *words))
            group = group or words[0]
    assert listed == there


def test_every_management_command_is_listed() -> None:
    there = {path.stem for path in (ROOT / "webportal/staff/management/commands").glob("[a-z]*.py")}
    listed = {quoted(row[0])[0].split()[1] for row in rows(section(page("commands"), "Management commands"))}
    assert listed == there


def test_every_metric_is_listed() -> None:
    source = (ROOT / "ftpgate" / "http" / "metrics.py").read_text(encoding="utf-8")
    counters = {f"{name}_total" for name in re.findall(r'CounterMetricFamily\(\s*"(\w+)"', source)}
    there = counters | set(re.findall(r'(?:Gauge|Histogram)MetricFamily\(\s*"(\w+)"', source))
    listed = {quoted(row[0])[0] for row in rows(section(page("operating"), "Metrics"))}
    assert listed == there


def test_every_http_status_and_ftp_command_is_listed() -> None:
    statuses = {int(row[0]) for row in rows(section(page("protocols"), "Status codes"))}
    assert statuses == set(REASONS)
    named = [name for row in rows(section(page("protocols"), "Commands")) for name in quoted(row[0])]
    assert sorted(named) == sorted(COMMANDS)


def test_every_ftp_reply_is_listed() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "ftpgate" / "ftp").glob("*.py"))
    code += (ROOT / "ftpgate" / "errors.py").read_text(encoding="utf-8")
    there = set(re.findall(r"""["']([1-5][0-9]{2})[ -]""", code)) | set(
        re.findall(r"\bftp = (?:\d+, )?(\d+)$", code, re.MULTILINE)
    )
    listed = {number for row in rows(section(page("protocols"), "Replies")) for number in re.findall(r"\b\d{3}\b", row[0])}
    assert listed == there


def test_every_webhook_event_is_listed() -> None:
    models = (ROOT / "webportal" / "webhooks" / "models.py").read_text(encoding="utf-8")  # which Django alone can import
    there = set(re.findall(r'"((?:grant|item)\.[a-z]+)"', models))
    assert {quoted(row[0])[0] for row in rows(section(page("api"), "Webhooks"))} == there


def test_every_method_of_a_bridge_and_of_a_shop_is_explained() -> None:
    explained = {name.partition("(")[0] for row in rows(section(page("bridge"), "Bridge")) for name in quoted(row[0])}
    assert explained == public_methods(Bridge)
    assert public_methods(Shop) <= set(quoted(section(page("bridge"), "Shop")))


def test_the_manual_lists_all_of_its_pages() -> None:
    listed = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md"))


def test_the_drawings_of_states_are_those_of_the_tables() -> None:
    """`python docs/draw_states.py` makes them anew."""
    made = dict(runpy.run_path(str(ROOT / "docs" / "draw_states.py"))["pages"]())
    assert {path for path, content in made.items() if path.read_text(encoding="utf-8") != content} == set()
    assert set((PAGES / "images" / "states").iterdir()) == {path for path in made if path.suffix == ".svg"}


def test_every_table_of_states_is_drawn() -> None:
    drawn = {machine.states for machine in runpy.run_path(str(ROOT / "docs" / "draw_states.py"))["MACHINES"]}
    tables = {
        f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}.{name}"
        for path in (ROOT / "ftpgate").rglob("*.py")
        for name in re.findall(r"^class (\w+)\(StateEnum\)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert drawn == {*tables, "webportal.grants.states.State"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(document: Path) -> None:
    broken = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        in_manual = not path or not document.is_relative_to(PAGES) or target.is_relative_to(PAGES)
        if not in_manual or not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(document: Path) -> None:
    named = {
        name for name in quoted(prose(document)) if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/[\w-]+\.(?:py|md|yml|sql|example)", name)
    }
    tops = [ROOT, ROOT / "ftpgate", ROOT / "webportal", document.parent]
    assert {name for name in named if not any((top / name).is_file() for top in tops)} == set()


def test_every_module_of_the_plan_is_there() -> None:
    planned = list(modules())
    assert [path for path in planned if not (ROOT / path).exists()] == []
    for room in ("proof", "net", "shaping", "shaping/leases", "access", "delivery", "ftp"):
        there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ftpgate" / room).glob("[a-z]*.py")}
        assert there <= set(planned)


def test_the_plan_gives_a_reason_for_every_library() -> None:
    named = {
        name for row in rows(section(PLAN, "Libraries, and why each")) for name in row[0].removesuffix(" 5.2 LTS").split(", ")
    }
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert named == {re.match(r"[\w-]+", line)[0] for line in required}  # type: ignore[index]


def test_the_plan_counts_the_methods_of_the_bridge() -> None:
    assert f"a `Bridge` of {COUNTS[len(public_methods(Bridge))]} methods" in PLAN


def test_the_plan_has_every_package_of_the_portal() -> None:
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "webportal").glob("*/__init__.py")}
    assert packages <= {path.removesuffix("/") for path in modules()}
