"""Texts as codes with parameters, and what is said of errors where they are shown."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation

import webportal
from ftpgate.translatable import FileProblem, SystemReason, TranslatableText, os_reason
from webportal.core.texts import TABLES, Text
from webportal.core.translatable import LONGEST_CODE, MESSAGES, coded, restored, stored, translated
from webportal.staff.hints import _AT_A_TERMINAL, _ON_PAGES, for_staff, for_terminal

_LEFT_OUT = {"Thumbs.db": Text.OF_DESKTOP(), "x": Text.HIDDEN()}
NESTED = Text.LEFT_OUT_AND_MORE(
    names=[Text.PATH_AND_REASON(path=path, reason=reason) for path, reason in _LEFT_OUT.items()], more=3
)
ERRORS = ("AccountError", "EndpointError", "FileError", "GrantError", "ImportRefused", "PurgeError", "ShopError")


def restored_from(document: dict[str, object]) -> TranslatableText:
    return restored(document["code"], document["parameters"])  # type: ignore[arg-type]


def test_no_code_is_taken_twice() -> None:
    assert len(MESSAGES) == sum(len(table) for table in TABLES)
    assert max(map(len, MESSAGES)) <= LONGEST_CODE


@pytest.mark.parametrize("text", [NESTED, Text.CART_EMPTY(), Text.NO_ANSWER(seconds=1.5), coded("50 % of %(it)s")])
def test_what_was_stored_is_the_same_again(text: TranslatableText) -> None:
    again = restored_from(stored(text))
    assert (again, again.message, again.parameters) == (text, text.message, text.parameters)


def test_a_text_is_said_in_the_language_of_whoever_looks() -> None:
    assert NESTED == "left out: Thumbs.db (left by a desktop system), x (hidden, and no audio) and 3 more"
    with translation.override("ru"):
        said = translated(NESTED)
    assert "Thumbs.db (" in said
    assert "left" not in said


def test_names_that_are_no_text_are_stored_too() -> None:
    """PostgreSQL's jsonb takes neither NUL nor half a surrogate pair."""
    assert stored(Text.NAME_NOT_UTF8(path="a\udcff\0"))["parameters"] == {
        "path": "a\N{REPLACEMENT CHARACTER}" * 1 + "\N{REPLACEMENT CHARACTER}"
    }


@pytest.mark.parametrize(
    ("code", "parameters"), [("of_a_later_version", {"x": 1}), ("file_size", {}), ("file_size", {"found": "x"})]
)
def test_a_code_of_another_version_is_shown_as_it_is(code: str, parameters: dict[str, object]) -> None:
    assert restored(code, parameters) == f"{code} {parameters}" or (not parameters and restored(code, parameters))


def test_what_the_system_says_has_a_code_where_it_is_known() -> None:
    assert os_reason(PermissionError(13, "Permission denied")).message is SystemReason.PERMISSION_DENIED
    unknown = os_reason(OSError(5, "Something 100 % strange"))
    assert (unknown, unknown.message) == ("Something 100 % strange", SystemReason.OTHER_REASON)


def raised() -> Iterator[tuple[Text, set[str]]]:
    """Every text that a service raises an error with, and the names of its parameters there."""
    for path in Path(webportal.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Name("_move"):
                    yield Text[ast.unparse(node.args[2]).removeprefix("Text.")], {"grant", "state"}
                case ast.Name(error) if error in ERRORS:
                    yield from texts_in(node)


def texts_in(call: ast.Call) -> Iterator[tuple[Text, set[str]]]:
    for node in ast.walk(call):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("Text."):
            yield Text[ast.unparse(node.func).removeprefix("Text.")], {str(keyword.arg) for keyword in node.keywords}


def test_a_terminal_is_told_what_to_do_about_every_error() -> None:
    found = [(text, given) for text, given in raised() if not text.name.startswith("STATE_")]
    assert len(found) > 50
    for text, given in found:
        assert text in _AT_A_TERMINAL, text
        for template in (text.value, _AT_A_TERMINAL[text], _ON_PAGES.get(text, "")):
            assert set(re.findall(r"%\((\w+)\)", template)) <= given, (text, template)


def test_the_same_error_is_followed_by_what_its_reader_can_do() -> None:
    error = Text.GRANT_ENDED(grant="abcdefghjk", state=Text.STATE_COMPLETE())
    assert for_terminal(error).endswith("a token would open nothing: issue a new one with: ftpgate grant issue")
    with translation.override("ru"):
        assert for_staff(error) == "выдача abcdefghjk завершена, токен ничего не откроет: оформите новую"


def test_problems_of_files_complete_a_sentence() -> None:
    assert f"The file {FileProblem.FILE_SIZE(found=1, imported=2)}" == "The file has 1 bytes, 2 were imported"
