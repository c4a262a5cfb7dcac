"""The parts that the other tests lean on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg2
import pytest

from tests.support.media import hashes, write_album
from tests.support.postgres import PostgresServer
from tests.support.tools import missing
from tests.support.waiting import wait_until


def test_postgres_keeps_its_port_and_its_data_over_a_crash(own_postgres: PostgresServer) -> None:
    url = own_postgres.create_database()
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (name text)")
        cursor.execute("INSERT INTO kept VALUES ('Ёлка')")
    connection.close()
    port = own_postgres.port

    own_postgres.stop(immediately=True)
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url, connect_timeout=5)

    own_postgres.start()
    assert own_postgres.port == port
    copy = own_postgres.create_database(template=url.rpartition("/")[2])
    with psycopg2.connect(copy) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT upper(name) FROM kept")
        assert cursor.fetchall() == [("ЁЛКА",)]
    connection.close()


def test_wait_until_returns_what_it_waited_for_and_names_what_did_not_come() -> None:
    answers = iter([None, 0, "", "there"])
    assert wait_until(lambda: next(answers)) == "there"
    with pytest.raises(AssertionError, match=r"rain did not come about within 0\.01 s; last seen: \[\]"):
        wait_until(list, 0.01, "rain")


@pytest.mark.parametrize(("ci", "ends_with"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_part_skips_the_test_and_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, ends_with: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(ends_with, match="the moon is missing; `make tools` gets it"):
        missing("the moon")


def test_albums_have_exact_sizes_and_contents_of_their_own(tmp_path: Path) -> None:
    files = {"CD1/01.ogg": 3_000_000, "CD2/01.ogg": 3_000_000, "empty.txt": 0}
    write_album(tmp_path / "one", files, seed=1)
    write_album(tmp_path / "again", files, seed=1)
    write_album(tmp_path / "other", files, seed=2)
    assert {path: (tmp_path / "one" / path).stat().st_size for path in files} == files
    assert hashes(tmp_path / "one") == hashes(tmp_path / "again")
    found = [*hashes(tmp_path / "one").values(), *hashes(tmp_path / "other").values()]
    assert len(set(found)) == 5
    assert found.count(hashlib.sha256(b"").hexdigest()) == 2
