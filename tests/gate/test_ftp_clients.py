"""Real FTP clients complete what they fetch, by coverage, at full speed and paced; and complete nothing when stopped half-way."""

from __future__ import annotations

import ftplib
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ftpgate import ftp
from ftpgate.grants import Item, Tier
from ftpgate.tokens import Token
from tests.support.clients import aria2, axel, curl, lftp, lftp_mirror, lftp_pget, run, start, wget
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, hashes, sha256, write_album
from tests.support.waiting import wait_until

BIG = 24_000_000
ALBUM = "Ёлка [live] #1 100%"
TIERS = [Tier("unlimited", 0, 64), Tier("paced", 12_000_000, 64)]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    media = tmp_path / "media"
    write_album(media / ALBUM, {"big.bin": BIG, "CD 2/01.ogg": 200_000, **dict.fromkeys(NASTY_NAMES, 50000)})
    write_album(media / "Plain", {"big.bin": BIG})
    with InProcessGate(media, {"ftp": ftp.listen}) as gate:
        yield gate


@pytest.fixture
def plain(gate: InProcessGate) -> Item:
    return gate.item("Plain")


def url(gate: InProcessGate, token: Token, path: str) -> str:
    host, port = gate.address("ftp")
    return f"ftp://{token.reveal()}:x@{host}:{port}/{quote(path)}"


def completes(gate: InProcessGate, token: Token) -> None:
    try:
        wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")
    except AssertionError as error:
        transfers = "\n".join(f"{record.start}+{record.delivered} {record.outcome}" for record in gate.shop.records)
        raise AssertionError(f"{error}\n{gate.shop.covered}\n{transfers}") from None


@pytest.mark.parametrize("tier", TIERS, ids=[tier.name for tier in TIERS])
@pytest.mark.parametrize("client", ["curl", "wget", "lftp pget -n 8", "aria2c -x4", "axel -n 4"])
def test_one_file_completes(gate: InProcessGate, plain: Item, tmp_path: Path, client: str, tier: Tier) -> None:
    token = gate.shop.issue([plain], tier=tier)
    source, to = url(gate, token, "Plain/big.bin"), tmp_path / "big.bin"
    match client.split()[0]:
        case "curl":
            curl(source, to)
        case "wget":
            wget(source, to)
        case "lftp":
            lftp_pget(source, to, segments=8)
        case "aria2c":
            aria2(source, to, connections=4)
        case "axel":
            axel(source, to, connections=4)
    assert sha256(to) == sha256(gate.media / "Plain" / "big.bin")
    if client in ("curl", "wget"):
        completes(gate, token)
    else:
        gate.accounts_for(token, plain.files[0])


@pytest.mark.parametrize("tier", TIERS, ids=[tier.name for tier in TIERS])
def test_lftp_mirrors_an_album_of_nasty_names(gate: InProcessGate, tmp_path: Path, tier: Tier) -> None:
    item = gate.item(ALBUM)
    token = gate.shop.issue([item], tier=tier)
    lftp_mirror(url(gate, token, "").rstrip("/") + "/", tmp_path / "got")
    assert hashes(tmp_path / "got") == {f"{ALBUM}/{path}": digest for path, digest in hashes(gate.media / ALBUM).items()}
    completes(gate, token)


def test_lftp_lists_and_gets_what_a_pattern_names(gate: InProcessGate, tmp_path: Path) -> None:
    item = gate.item(ALBUM)
    token = gate.shop.issue([item])
    lftp(f'open "{url(gate, token, "")}"; cls -la; cd "{ALBUM}"; mget -O "{tmp_path}" *.ogg; bye')
    assert {path.name for path in tmp_path.glob("*.ogg")} == set(NASTY_NAMES)


def test_clients_fetch_what_they_were_told_of_a_folder(gate: InProcessGate, tmp_path: Path) -> None:
    """ftplib, lftp and curl ask for the names of a folder where they do not stand, and then for those names."""
    token = gate.shop.issue([gate.item(ALBUM, shown="Two discs")])
    with ftplib.FTP(timeout=20) as client:
        client.connect(*gate.address("ftp"))
        client.login(token.reveal(), "x")
        for name in client.nlst("Two discs/CD 2"):
            received = io.BytesIO()
            client.retrbinary(f"RETR {name}", received.write)
            assert len(received.getvalue()) == 200_000
    lftp(f'open "{url(gate, token, "")}"; mget -O "{tmp_path}" "Two discs/CD 2/*.ogg"; nlist "Two discs/CD 2"; bye')
    assert (tmp_path / "01.ogg").stat().st_size == 200_000
    for more in ([], ["--ftp-method", "nocwd"]):
        listed = run("curl", ["-q", "-sS", "-l", *more, url(gate, token, "Two discs/CD 2/")]).output
        assert listed.split("/")[-1].strip() == "01.ogg"


def test_a_client_that_does_not_decode_gets_the_shops_own_link(gate: InProcessGate, tmp_path: Path) -> None:
    token = gate.shop.issue([gate.item(ALBUM)])
    axel(url(gate, token, f"{ALBUM}/CD 2/01.ogg"), tmp_path / "01.ogg", connections=1)
    assert sha256(tmp_path / "01.ogg") == sha256(gate.media / ALBUM / "CD 2" / "01.ogg")


def test_a_zip_in_segments_completes_its_item(gate: InProcessGate, tmp_path: Path) -> None:
    item = gate.item(ALBUM)
    token = gate.shop.issue([item])
    aria2(url(gate, token, f"{ALBUM}.zip"), tmp_path / "album.zip", connections=4)
    curl(url(gate, token, f"{ALBUM}.zip"), tmp_path / "again.zip")
    assert sha256(tmp_path / "album.zip") == sha256(tmp_path / "again.zip")
    completes(gate, token)  # curl has fetched it whole


def test_curl_resumes_what_it_was_stopped_in(gate: InProcessGate, plain: Item, tmp_path: Path) -> None:
    token = gate.shop.issue([plain], tier=Tier("slow", 6_000_000, 4))
    source, to = url(gate, token, "Plain/big.bin"), tmp_path / "big.bin"
    with start("curl", ["-q", "-s", "-o", str(to), source]) as stopped:
        wait_until(lambda: to.exists() and to.stat().st_size > 3_000_000, 20, "some bytes")
        stopped.kill()
        stopped.wait(10)
    gate.settled()
    held = to.stat().st_size
    assert all(end <= held + 200_000 for _, end in gate.shop.spans(token.grant, plain.files[0]))
    assert not gate.shop.completed
    curl(source, to, "-C", "-")
    assert sha256(to) == sha256(gate.media / "Plain" / "big.bin")
    gate.accounts_for(token, plain.files[0])


def test_aria2_stopped_half_way_completes_nothing_until_it_has_resumed(gate: InProcessGate, plain: Item, tmp_path: Path) -> None:
    token = gate.shop.issue([plain], tier=Tier("slow", 8_000_000, 16))
    arguments = [
        "--no-conf",
        "-x8",
        "-s8",
        "-k1M",
        "--file-allocation=none",
        f"--dir={tmp_path}",
        url(gate, token, "Plain/big.bin"),
    ]
    with start("aria2c", arguments) as stopped:
        wait_until(
            lambda: sum(t.credit.credited for t in gate.call(lambda: tuple(gate.engine.transfers))) > 3_000_000, 20, "some bytes"
        )
        stopped.terminate()
        stopped.wait(20)
    gate.settled()
    assert not gate.shop.completed
    assert sum(end - start for start, end in gate.shop.spans(token.grant, plain.files[0])) < BIG
    aria2(url(gate, token, "Plain/big.bin"), tmp_path / "big.bin", connections=8)
    gate.accounts_for(token, plain.files[0])


def test_curl_in_active_mode(gate: InProcessGate, plain: Item, tmp_path: Path) -> None:
    token = gate.shop.issue([plain])
    curl(url(gate, token, "Plain/big.bin"), tmp_path / "big.bin", "--ftp-port", "127.0.0.1")
    assert sha256(tmp_path / "big.bin") == sha256(gate.media / "Plain" / "big.bin")
    completes(gate, token)


def test_lftp_speaks_tls_where_it_is_offered(tmp_path: Path) -> None:
    """Left to itself it takes it, and verifies whose certificate that is; told not to, it goes in the clear."""
    write_album(tmp_path / "media" / "Plain", {"small.bin": 50_000})
    with InProcessGate(tmp_path / "media", {"ftp": ftp.listen}, certificate=True) as gate:
        ca = gate.certificate.ca
        token = gate.shop.issue([gate.item("Plain")])

        def get(number: int) -> str:
            return f"""get "{url(gate, token, "Plain/small.bin")}" -o "{tmp_path / str(number)}\""""

        stranger = run("lftp", ["--norc", "-c", f"set cmd:fail-exit yes; {get(0)}"], check=False)
        assert stranger.status
        assert "not trusted" in stranger.output.lower()
        assert not gate.shop.records
        run("lftp", ["--norc", "-c", f"set cmd:fail-exit yes; set ssl:ca-file {ca}; {get(1)}"])
        lftp(get(2), ca=ca)
        lftp(get(3))
        gate.settled()
        assert [record.protocol for record in gate.shop.records] == ["ftps", "ftps", "ftp"]
        assert {sha256(tmp_path / str(number)) for number in (1, 2, 3)} == {sha256(gate.media / "Plain" / "small.bin")}
