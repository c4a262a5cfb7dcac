"""`ftpgate restore`: a backup into an installation that has nothing yet. It is looked through before anything is changed."""

from __future__ import annotations

import hmac
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ftpgate import __version__, private
from ftpgate import settings as settings_module
from ftpgate.commands import manifest
from ftpgate.commands.backup import COVERS, EARLIER_KEYS, KEY
from ftpgate.commands.manifest import Manifest
from ftpgate.commands.shop import Document, Shop
from ftpgate.commands.text import listed
from ftpgate.delivery import journal, journal_file
from ftpgate.errors import UserError
from ftpgate.process import pid_file
from ftpgate.settings import Settings
from ftpgate.translatable import os_reason


def restore(folder: Path, settings: Settings, shop: Shop, gate_state: Path | None = None) -> Document:
    """Fill the state folder and the database of these settings from a backup, or leave both as they were.

    Args:
        gate_state: the state folder of a gate that has one of its own, for the journal.

    Raises:
        UserError: the backup is broken or of a later version, the target holds something, or a gate or the portal runs.
    """
    gate_state = gate_state or settings.state_dir
    _check_nothing_runs(settings, shop, gate_state)
    made = manifest.read(folder)
    _check_version(made)
    _check_empty(settings.state_dir, gate_state)
    manifest.check(folder, made)
    key, earlier = _keys(folder, settings)
    shop.check_database(folder, dict(made.database))
    try:
        with _undone_on_errors() as put:
            if any(name.startswith(f"{COVERS}/") for name in made.files):
                put(settings.state_dir / COVERS, lambda path: _copy_covers(folder, made, path))
            if journal_file.NAME in made.files:
                put(gate_state / journal_file.NAME, lambda path: _copy(folder / journal_file.NAME, path))
            if not settings.secret_key and not (settings.state_dir / KEY).exists():
                put(settings.state_dir / KEY, lambda path: private.write_new(path, key))
            shop.load_database(folder)
    except OSError as error:
        cause = f"{str(settings.state_dir)!r} cannot be filled ({os_reason(error)})"
        raise UserError(cause, "make room, or correct the folder") from None
    return {
        "backup": str(folder.absolute()), "made_at": made.made_at, "ftpgate": made.ftpgate, "database": dict(made.database),
        "state_dir": str(settings.state_dir), "next": _next(folder, settings, earlier),
    }  # fmt: skip


def _next(folder: Path, settings: Settings, earlier: Sequence[str]) -> list[str]:
    """What is to be done now, in this order."""
    steps = []
    if not set(earlier) <= set(settings.secret_key_fallbacks):
        steps.append(f"set FTPGATE_SECRET_KEY_FALLBACKS to the lines of {folder / EARLIER_KEYS}, with commas between")
    return [
        *steps,
        "ftpgate manage migrate",
        f"bring the media to {settings.media_root}, then: ftpgate item verify",
        "ftpgate doctor",
        "start the gate and the portal: what waits in the journal is recorded then",
    ]


# ------------------------------------------------------------------------------------------ before anything is changed


def _check_nothing_runs(settings: Settings, shop: Shop, gate_state: Path) -> None:
    if running := [*journal.running(gate_state), *(gate["pid"] for gate in pid_file.running(gate_state))]:
        raise UserError(f"the gate {running[0]} runs in {str(gate_state)!r}", "stop it first")
    if shop.portal_answers():
        raise UserError(f"a portal runs at {settings.portal}", "stop it first")


def _check_version(made: Manifest) -> None:
    if _numbers(made.ftpgate) > _numbers(__version__):
        raise UserError(
            f"the backup was made by ftpgate {made.ftpgate[:40]}, this is {__version__}", "install that version, or a later one"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", version)[:3])


def _check_empty(state_dir: Path, gate_state: Path) -> None:
    """An empty folder of covers is nothing, nor are the portal's style sheets and the media."""
    there = [
        *(path for path in (state_dir / COVERS).glob("*")),
        *(path for path in private.database_files(gate_state / journal_file.NAME)),
        *(path for path in (gate_state / journal_file.LIVE).glob("*")),
    ]
    if there:
        raise UserError(
            f"the state folder is not empty: {listed(sorted(there))}", "restore into a new one: set FTPGATE_STATE_DIR"
        )


def _keys(folder: Path, settings: Settings) -> tuple[str, list[str]]:
    """The backup's key, and earlier ones.

    Raises:
        UserError: this installation has another one: links and receipts would be another shop's.
    """
    try:
        key = (folder / KEY).read_text(encoding="utf-8")
        earlier = (folder / EARLIER_KEYS).read_text(encoding="utf-8").splitlines() if (folder / EARLIER_KEYS).exists() else []
    except (OSError, ValueError):
        raise UserError(f"the backup has no {KEY}", "use another backup") from None
    if settings.secret_key and not hmac.compare_digest(settings.secret_key.encode(), key.encode()):
        raise UserError("FTPGATE_SECRET_KEY is not the backup's", f"set it to what {folder / KEY} holds, or take it out")
    path = settings.state_dir / KEY
    if not settings.secret_key and path.exists() and settings_module.secret_key(settings) != key:
        raise UserError(f"{path} is another key than the backup's", "remove it, if nothing was signed with it here")
    return key, earlier


# ------------------------------------------------------------------------------------------ the changes

Put = Callable[[Path, Callable[[Path], object]], None]


@contextmanager
def _undone_on_errors() -> Iterator[Put]:
    """Gives `put(path, make)`, by which something new gets its name once it is whole. After an error all of it goes again."""
    done: list[Path] = []

    def put(path: Path, make: Callable[[Path], object]) -> None:
        private.make_folder(path.parent)
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=path.parent) as unfinished:
            made = Path(unfinished) / path.name
            make(made)
            for each in (made, *made.rglob("*")):
                private.give_to_owner(each, path.parent)
            with suppress(FileNotFoundError):
                if path.is_dir():
                    path.rmdir()  # an empty one
            made.rename(path)
        done.append(path)

    try:
        yield put
    except BaseException:
        for path in reversed(done):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _copy_covers(folder: Path, made: Manifest, to: Path) -> None:
    for name in made.files:
        if name.startswith(f"{COVERS}/"):
            path = to / name.removeprefix(f"{COVERS}/")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy(folder / name, path)


def _copy(path: Path, to: Path) -> None:
    shutil.copy2(path, to)
    to.chmod(0o600)
