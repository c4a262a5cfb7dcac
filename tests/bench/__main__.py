"""Run the benchmarks: python -m tests.bench [--quick] [--only NAME] [--rounds N] [--seconds T]"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.bench import report
from tests.bench.rounds import Bench, Results
from tests.bench.scenarios import SCENARIOS
from tests.bench.servers import Certificate, Missing, Peer, start_nginx, start_pyftpdlib, start_vsftpd
from tests.bench.shop import Shop
from tests.support.tools import CACHE

BIG = 512 * 1024 * 1024
FILES = {"Big": ("big.bin", BIG), "Small": ("small.bin", 4096)}


def main() -> int:
    options = _arguments()
    results = Results()
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        certificate = Certificate(folder)
        _say("making the shop and its customers")
        shop = Shop(folder, FILES, certificate)
        stack.callback(shop.close)
        peers = {}
        paths = {what.lower(): f"{what}/{file}" for what, (file, _) in FILES.items()}
        for start in (
            partial(start_nginx, folder, shop.media, paths, certificate),
            partial(start_vsftpd, folder, shop.media, paths),
            partial(start_pyftpdlib, folder, shop.media, paths),
        ):
            try:
                peer: Peer = start()
                stack.callback(peer.close)
                peers[peer.name] = peer
            except Missing as error:
                results.note(f"a server is left out: {error}")
        bench = Bench(shop, shop.start(), peers, options.rounds, options.seconds, options.long, results)
        for name in options.only or SCENARIOS:
            SCENARIOS[name](bench)
        how = f"{options.rounds} rounds of {options.seconds:g} s; paced ones of {options.long:g} s."
        print(report.write(results, how, options.results, whole=not options.only))
    for note in results.notes:
        print(f"note: {note}")
    _say(f"written to {options.results / 'RESULTS.md'}")
    return 0


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="The gate beside its peers, on this machine.")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, help="turns of every contestant (5)")
    parser.add_argument("--seconds", type=float, help="of a turn (4)")
    parser.add_argument("--long", type=float, help="seconds of a turn with 9,000 paced downloads (60)")
    parser.add_argument("--results", type=Path, help="where the page is written (of a part or a quick run: .cache/bench)")
    options = parser.parse_args(given)
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 5)
    options.seconds = options.seconds or (2.0 if quick else 4.0)
    options.results = options.results or (CACHE / "bench" if quick or options.only else report.FOLDER)
    options.long = options.long or (12.0 if quick else 60.0)
    return options


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that servers under other users may read."""
    folder = Path(tempfile.mkdtemp(prefix="ftpgate-bench-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
