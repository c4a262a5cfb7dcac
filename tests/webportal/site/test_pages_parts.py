"""Parts of the pages that need no database: commands, maps, formats, translations."""

from __future__ import annotations

import re
import shlex
from urllib.parse import unquote, urlsplit

import pytest
from babel.messages.mofile import read_mo
from django.utils import translation

from tests.support.media import NASTY_NAMES
from webportal.catalogue.placeholder import placeholder
from webportal.core import formats, messages
from webportal.core.browsers import browser_name
from webportal.site import bytemap, clients

pytestmark = pytest.mark.databases("sqlite")

SECRET = "abcdefghjk-abcdefghjkmnpqrstuvwxyz234"
AT = clients.Addresses(f"http://h:80/d/{SECRET}/", f"ftp://{SECRET}:x@h:21/", f"http://h:80/d/{SECRET}/downloads.meta4")
NAMES = (*NASTY_NAMES, "-rf $HOME `id`", 'say "hi" \\ now', "don't")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("client", [clients.curl, clients.wget, clients.aria2, clients.lftp])
def test_a_command_says_the_same_to_a_shell_as_it_looks(client, name: str) -> None:
    for command in client(AT, [clients.Item("T", name)]):
        words = shlex.split(command.text)
        assert " && ".join(map(shlex.join, _commands(words))) == command.text
        assert words[0] in ("curl", "wget", "aria2c", "lftp")
        if not command.title or words[0] == "lftp":
            continue
        url = urlsplit(words[-1])
        assert not set(words[-1]) & set(" '\"\\$`#;")
        assert unquote(url.path) == f"/d/{SECRET}/{name}.zip"
        assert f"{name}.zip" in words or f"./{name}.zip" in words
        assert "#" not in url.path


def _commands(words: list[str]) -> list[list[str]]:
    """Those between `&&`."""
    at = words.index("&&") if "&&" in words else len(words)
    return [part for part in (words[:at], words[at + 1 :]) if part]


@pytest.mark.parametrize("shell", [clients.aria2, clients.rclone])
def test_what_fetches_everything_has_nothing_that_a_shell_could_misread(shell) -> None:
    """The same in sh, PowerShell 7 and cmd."""
    for command in shell(AT, [clients.Item(f"T{n}", f"F{n}") for n in range(clients.EACH_ITEM_UP_TO + 1)]):
        assert re.fullmatch(r"[A-Za-z0-9 :/=._@-]+( && [A-Za-z0-9 :/=._@-]+)?", command.text)


@pytest.mark.parametrize("name", NAMES)
def test_rclone_gets_the_folder_and_its_name(name: str) -> None:
    *_, command = clients.rclone(AT, [clients.Item("T", name)])
    program, verb, option, url, source, to = shlex.split(command.text)
    assert (program, verb, option, source) == ("rclone", "copy", "--http-url", ":http:")
    assert unquote(urlsplit(url).path) == f"/d/{SECRET}/{name}/"
    assert to in (name, f"./{name}")


@pytest.mark.parametrize("name", NAMES)
def test_lftp_reads_the_names_back(name: str) -> None:
    (_, command) = clients.lftp(AT, [clients.Item("T", name)])
    script = shlex.split(command.text)[-1]
    words = shlex.split(script)  # lftp's double quotes are the shell's: \\ and \" are escaped
    assert words[-1].removeprefix("./") == f"{name}.zip"
    assert unquote(urlsplit(words[-3]).path) == f"/{name}.zip"


def test_a_grant_of_very_many_items_keeps_the_page_short() -> None:
    items = [clients.Item(f"T{n}", f"F{n}") for n in range(clients.EACH_ITEM_UP_TO + 1)]
    for client in (clients.wget, clients.aria2, clients.lftp):
        assert [command.title for command in client(AT, items)] == [""]
    assert [command.title for command in clients.rclone(AT, items)] == ["HTTP", "FTP"]
    assert len(clients.curl(AT, items)) == len(items)


def test_the_login_for_forms() -> None:
    assert AT.login() == clients.Login("h", 21, SECRET, "x", False)


def test_the_map_shows_each_file_as_wide_as_it_is_large() -> None:
    (x1, w1), (x2, w2) = bytemap.columns([100, 300])
    assert (x1, round(x2 + w2, 6)) == (0.0, bytemap.WIDTH)
    assert w2 == pytest.approx(3 * w1)
    assert x2 - (x1 + w1) == pytest.approx(3)
    assert bytemap.arrived([100, 300], [[(0, 100)], []]) == f"M0.00 0h{w1:.2f}v10h-{w1:.2f}z"
    assert bytemap.arrived([0, 0], [[], []]) == ""
    assert bytemap.ground([5]) == "M0.00 0h1000.00v10h-1000.00z"


def test_what_is_unconfirmed_is_wide_enough_to_be_seen() -> None:
    (_, _), (x, width) = bytemap.columns([1_000_000, 3_000_000])
    ranges = [[(0, 250_000), (500_000, 500_001)], [(2_999_999, 3_000_000)]]
    wide, narrow, last = bytemap.unconfirmed([1_000_000, 3_000_000], ranges).split("z")[:3]
    assert wide == f"M0.00 0h{width / 12:.2f}v10h-{width / 12:.2f}"
    assert narrow.endswith("h4.00v10h-4.00")
    assert last.startswith(f"M{x + width - 4:.2f} "), "it stays within its file"


def test_the_map_of_countless_ranges_is_short() -> None:
    spans = [(start, start + 1) for start in range(0, 200_000, 2)]
    assert bytemap.arrived([200_000], [spans]).count("M") == 1
    assert len(bytemap.ground([1] * 5_000)) < 150_000


SIZES = (
    (0, "0 B", "0 Б"),
    (999, "999 B", "999 Б"),
    (1_000, "1.00 kB", "1,00 кБ"),
    (999_499, "999 kB", "999 кБ"),
    (999_500, "1.00 MB", "1,00 МБ"),
    (12_345_678, "12.3 MB", "12,3 МБ"),
    (4_200_000_000, "4.20 GB", "4,20 ГБ"),
    (10**16, "10000 TB", "10000 ТБ"),
)


@pytest.mark.parametrize(("count", "english", "russian"), SIZES)
def test_sizes(count: int, english: str, russian: str) -> None:
    for language, expected in (("en", english), ("ru", russian)):
        with translation.override(language):
            assert formats.size(count).replace("\N{NO-BREAK SPACE}", " ") == expected


def test_lengths_and_percents() -> None:
    assert [formats.length(seconds) for seconds in (0, 59.6, 187, 3_765)] == ["0:00", "1:00", "3:07", "1:02:45"]
    assert [formats.percent(part, 1_000) for part in (0, 9, 999, 1_000)] == [0, 0, 99, 100]
    assert formats.percent(0, 0) == 100


def test_a_picture_is_always_the_same_for_the_same_name() -> None:
    assert placeholder("A", "B") == placeholder("A", "B") != placeholder("A", "C")
    assert "&lt;" in placeholder("<", "")


def test_browsers_have_names_for_people() -> None:
    assert (
        browser_name("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0") == "Edge · Windows"
    )
    assert browser_name("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/605") == "Safari · iPhone"
    assert browser_name("") == ""


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_string_is_translated_and_compiled(language: str) -> None:
    catalog = messages.translated(language)
    assert messages.missing(catalog) == []
    hint = "run: ftpgate manage messages"
    assert messages.po_text(catalog) == messages.po_file(language).read_bytes(), hint
    with messages.mo_file(language).open("rb") as file:
        compiled = [(message.id, message.string) for message in read_mo(file) if message.id]
    assert sorted(map(_plain, compiled)) == sorted(_plain((message.id, message.string)) for message in catalog if message.id), (
        hint
    )


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_translations_keep_their_placeholders(language: str) -> None:
    for message in messages.translated(language):
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for string in strings:
            assert _placeholders(string) == _placeholders(ids[-1]), ids[0]  # type: ignore[arg-type]


def _plain(pair: tuple[object, object]) -> str:
    """The same for lists and tuples of plural forms."""
    return repr([list(part) if isinstance(part, (list, tuple)) else part for part in pair])


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[a-z]|\{\w+\}", text))
