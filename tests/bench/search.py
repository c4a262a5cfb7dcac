"""How long the catalogue's pages take at 100,000 items, on SQLite and on PostgreSQL: `python -m tests.bench.search`."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.databases import KINDS, Databases
from tests.support.postgres import PostgresServer
from tests.support.tools import clean_environment

ITEMS = 100_000
TIMES = 20
QUERIES = {
    "everything": "",
    "one rare word": "quetzalcoatl",
    "two words": "silver harb",
    "Russian": "тихая гав",
    "one letter": "s",
    "two letters": "sa",
    "a word of every item": "track",
    "two of every item": "track vol",
    "nothing": "zzzzqq",
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ftpgate-bench-") as folder, PostgresServer() as server:
        Path(folder).chmod(0o755)
        databases = Databases(Path(folder), lambda: server)
        for kind in KINDS:
            environment = clean_environment(Path(folder)) | {
                "FTPGATE_STATE_DIR": str(Path(folder) / "state"),
                "FTPGATE_DATABASE_URL": databases.migrated(kind),
                "DJANGO_SETTINGS_MODULE": "webportal.config.settings",
                "FTPGATE_LOG": "text",
            }
            command = [sys.executable, "-c", "from tests.bench.search import measure; measure()"]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            print(f"{kind}, {ITEMS:,} items: milliseconds, median and slowest of {TIMES}")
            for row in json.loads(done.stdout):
                print("  {:38} {:8.1f} {:8.1f}".format(*row))


def measure() -> None:
    """Fill the database of this process's settings and write the figures as JSON."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import setup_test_environment

    from webportal.accounts.models import User
    from webportal.catalogue.search import Sort, search

    setup_test_environment()
    call_command("collectstatic", interactive=False, verbosity=0)
    _fill()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE catalogue_item")
    rows = []
    for name, query in QUERIES.items():
        rows.append([f"search: {name}", *_timed(lambda query=query: _page(search(query), 0))])
    for sort in Sort:
        last = f"two letters by {sort}, the last page"
        rows.append([last, *_timed(lambda sort=sort: _page(found := search("sa", sort), found.count() - 24))])
        rows.append([f"everything by {sort}, the last page", *_timed(lambda sort=sort: _page(search("", sort), ITEMS - 24))])
    client = Client()
    client.force_login(User.objects.create(username="reader"), backend="django.contrib.auth.backends.ModelBackend")
    for address in ("/", "/?q=s", "/?q=silver+harb&sort=newest"):
        rows.append([f"page {address}", *_timed(lambda address=address: client.get(address).content)])
    print(json.dumps(rows))


def _page(found: object, start: int) -> None:
    found.count()  # type: ignore[attr-defined]
    found[start : start + 24]  # type: ignore[index]


def _timed(work) -> tuple[float, float]:
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken), max(taken)


def _fill() -> None:
    from webportal.catalogue.models import Item, searchable

    chance = random.Random(7)
    words = "silver harbour moon тихая гавань stone glass salt north песни desert signal wires".split()  # noqa: SIM905
    words += ["".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chance.randrange(3, 9))) for _ in range(20_000)]
    items = []
    for number in range(ITEMS):
        title, artist = (" ".join(chance.choices(words, k=chance.randrange(1, 4))).title() for _ in range(2))
        tracks = " ".join(f"Track {' '.join(chance.choices(words, k=2))}" for _ in range(10))
        text = searchable(f"{artist} {title} vol {number} {tracks}" + (" quetzalcoatl" if number % 20_011 == 5 else ""))
        items.append(Item(title=title, artist=artist, year=1950 + number % 75, folder=title, source=str(number), search=text))
    Item.objects.bulk_create(items, batch_size=2_000)


if __name__ == "__main__":
    main()
