"""All trials, in the order in which they run. A module of this folder with a `TRIAL` becomes one by its name here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from tests.trials.trial import Trial

NAMES = (
    "real_clients", "managers", "cancelled", "players", "tails", "customers", "small_windows", "kills", "database",
    "promptness", "far_links", "dead_link", "odd_input", "soak", "gates", "gate_revocations", "reload",
)  # fmt: skip


def trials() -> dict[str, Trial]:
    """Name -> trial."""
    modules = {name: f"{__package__}.{name}" for name in NAMES}
    return {name: import_module(module).TRIAL for name, module in modules.items() if find_spec(module)}
