"""Makes `pages/states.md` and the drawings in it from the tables of states in the code.

`make docs` runs it; a test compares what it makes with what is there. Each drawing is a column of states with arcs: what leads
down is on the right, what leads back up on the left.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

PAGES = Path(__file__).resolve().parent / "pages"
PAGE = PAGES / "states.md"
IMAGES = PAGES / "images" / "states"

_ROW, _BOX_HEIGHT, _CHARACTER, _ARC, _MARGIN = 52, 30, 8.4, 17, 26
"""Pixels: from one state to the next, the height of its box, the width of a letter of 14 px, between two arcs, around all."""
_HEAD = """\
# State machines

What a transfer, a session, a connection and a grant may do next is in tables. A move that is not there is an error.
`make docs` makes these drawings from the tables. Solid arcs lead down, dashed ones back up.
"""
_STYLE = """\
  <style>
    text { font: 14px ui-monospace, monospace; fill: #222 }
    rect { fill: #e7f2f0; stroke: #0d6b5e }
    path { fill: none; stroke: #0d6b5e; stroke-width: 1.5 }
    .up { stroke-dasharray: 5 4 }
    .head { fill: #0d6b5e; stroke: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #eee } rect { fill: #123b35; stroke: #4db6a5 } path { stroke: #4db6a5 } .head { fill: #4db6a5; stroke: none }
    }
  </style>"""


class Machine(NamedTuple):
    """A table of states: the dotted name of its enum, the name of the table beside that, and what it is about."""

    title: str
    states: str
    moves: str
    about: str

    @property
    def image(self) -> str:
        return self.title.lower().replace(" ", "-").replace("'", "") + ".svg"


MACHINES = (
    Machine("A transfer's proof", "ftpgate.proof.credit.Phase", "MOVES", "Where the bytes of a transfer are."),
    Machine("A transfer's sending", "ftpgate.delivery.waiting.Wait", "MOVES", "What a transfer waits for before it goes on."),
    Machine("An FTP session", "ftpgate.ftp.session_state.SessionState", "MOVES", "What may run on its control connection."),
    Machine("A worker", "ftpgate.process.generation.WorkerState", "MOVES", "One process under the parent of a gate."),
    Machine("The last reply for a file", "ftpgate.ftp.file_sender.LastReply", "MOVES", "226 or 426, once for each file."),
    Machine("An HTTP connection", "ftpgate.http.states.State", "MOVES", "What is read, and when it ends."),
    Machine("A customer's lease", "ftpgate.shaping.leases.lease.LeaseState", "MOVES", "What a gate knows of his other gates."),
    Machine("A grant", "webportal.grants.states.State", "NEXT_STATES", "An expiry holds from its second on."),
)


def pages() -> Iterator[tuple[Path, str]]:
    """Every file that is made, and its content."""
    sections = [_HEAD]
    for machine in MACHINES:
        name, _, enum = machine.states.rpartition(".")
        module = importlib.import_module(name)
        moves: Mapping[Enum, Any] = getattr(module, machine.moves)
        states = list(getattr(module, enum))
        sections.append(_section(machine, states, moves, _meanings(module, enum)))
        yield IMAGES / machine.image, drawing(states, moves)
    yield PAGE, "\n".join(sections)


def _section(machine: Machine, states: list[Enum], moves: Mapping[Enum, Any], meanings: Mapping[str, str]) -> str:
    file = machine.states.rpartition(".")[0].replace(".", "/") + ".py"
    lines = [f"## {machine.title}\n", f"{machine.about} `{machine.moves}` in `{file}`.\n"]
    lines.append(f"![{machine.title}: its states and moves](images/states/{machine.image})\n")
    lines += ["| state | meaning | next |", "| --- | --- | --- |"]
    for state in states:
        following = ", ".join(f"`{to.name}`" for to in states if to in moves[state]) or "none: the end"
        lines.append(f"| `{state.name}` | {meanings.get(state.name, '')} | {following} |")
    return "\n".join(lines) + "\n"


def _meanings(module: Any, enum: str) -> dict[str, str]:
    """What the strings below an enum's members say, in one line each."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == enum)
    found = {}
    for member, text in pairwise(body):
        match member, text:
            case ast.Assign(targets=[ast.Name(name)]), ast.Expr(ast.Constant(str(said))):
                found[name] = " ".join(said.split())
    return found


def drawing(states: list[Enum], moves: Mapping[Enum, Any]) -> str:
    """A table of states as SVG."""
    rows = {state: row for row, state in enumerate(states)}
    arcs = [(rows[state], rows[to]) for state in states for to in states if to in moves[state]]
    down, up = [arc for arc in arcs if arc[0] <= arc[1]], [arc for arc in arcs if arc[0] > arc[1]]
    lanes_down, lanes_up = _lanes(down), _lanes(up)
    box = max(len(state.name) for state in states) * _CHARACTER + 24
    left = _MARGIN + _ARC * max(lanes_up.values(), default=0)
    right = left + box
    width = right + _ARC * max(lanes_down.values(), default=0) + _MARGIN
    height = _ROW * len(states) + 8
    size = f'width="{width:.0f}" height="{height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" {size}>', _STYLE]
    for state, row in rows.items():
        top = _ROW * row + (_ROW - _BOX_HEIGHT) / 2 + 4
        parts.append(f'  <rect x="{left:.0f}" y="{top:.0f}" width="{box:.0f}" height="{_BOX_HEIGHT}" rx="5"/>')
        parts.append(f'  <text x="{left + box / 2:.0f}" y="{top + 20:.0f}" text-anchor="middle">{state.name}</text>')
    parts += [_arc(arc, right, _ARC * lane, "down") for arc, lane in lanes_down.items()]
    parts += [_arc(arc, left, -_ARC * lane, "up") for arc, lane in lanes_up.items()]
    return "\n".join([*parts, "</svg>\n"])


def _lanes(arcs: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How far out each arc runs: short ones inside, and none over another one."""
    lanes: dict[tuple[int, int], int] = {}
    for arc in sorted(arcs, key=lambda arc: (abs(arc[0] - arc[1]), arc)):
        low, high = min(arc), max(arc)
        taken = {lane for other, lane in lanes.items() if min(other) <= high and low <= max(other)}
        lanes[arc] = next(lane for lane in range(1, len(arcs) + 1) if lane not in taken)
    return lanes


def _arc(arc: tuple[int, int], x: float, out: float, name: str) -> str:
    """From the lower half of a box to the upper half of another one, with a head; `out` is negative on the left."""
    start, end = (_ROW * row + _ROW / 2 + 4 for row in arc)
    start, end = (start + 6, end - 6) if arc[0] <= arc[1] else (start - 6, end + 6)
    tip = 7 if out > 0 else -7
    line = f"M{x:.0f} {start:.0f} H{x + out:.0f} V{end:.0f} H{x + tip:.0f}"
    head = f"M{x:.0f} {end:.0f} l{tip} -4 v8 z"
    return f'  <path class="{name}" d="{line}"/><path class="head" d="{head}"/>'


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for old in IMAGES.glob("*.svg"):
        old.unlink()
    for path, content in pages():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
