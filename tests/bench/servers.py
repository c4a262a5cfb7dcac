"""What the gate is measured beside: nginx, vsftpd and a bare pyftpdlib, each set up as its manuals advise for speed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import trustme

from tests.support.tools import PATH, ROOT
from tests.support.waiting import wait_until

Address = tuple[str, int]
DESCRIPTORS = 19_000


class Missing(Exception):
    """A server cannot take part; the text says why."""


class Certificate:
    """A certificate for localhost, made for this run.

    Attributes:
        chain, key: PEM files, readable for every user of the machine.
    """

    def __init__(self, folder: Path) -> None:
        made = trustme.CA().issue_cert("localhost", "127.0.0.1")
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        for blob in made.cert_chain_pems:
            blob.write_to_path(str(self.chain), append=True)
        made.private_key_pem.write_to_path(str(self.key))


class Target(NamedTuple):
    """Where a load goes, and `(user, password, path)` of its customers."""

    address: Address
    jobs: list[tuple[str, str, str]]


class Server:
    """A running server.

    Attributes:
        name: as it stands in the tables.
        pids: its processes; what they start belongs to them.
    """

    def __init__(self, name: str, pids: Sequence[int]) -> None:
        self.name = name
        self.pids = list(pids)

    def target(self, protocol: str, what: str, customers: str = "fast") -> Target | None:
        """Where `what` (`big`, `zip`, `small`) is for customers of a kind, or None when this server does not have that."""
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until nothing of the last load is left."""


class Peer(Server):
    """A server of others', started by a command line and ended by `close`.

    Args:
        paths: `big` and `small` -> path of the file below the served folder.
        addresses: protocol -> where it listens.
        limited: kind of customers -> folder of the address under which they are limited.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, paths: Mapping[str, str], addresses: Mapping[str, Address],
        limited: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT)
        super().__init__(name, [self._process.pid])
        self._paths = paths
        self._addresses = dict(addresses)
        self._limited = {"fast": "", "small": "", "visitors": "", **(limited or {})}
        try:
            for address in self._addresses.values():
                wait_until(lambda address=address: self._listens(address), 10, f"{name} on port {address[1]}")  # type: ignore[misc]
        except (AssertionError, Missing) as error:
            self.close()
            raise Missing(f"{name} did not start ({error}): {log.read_text(errors='replace')[-500:]}") from None

    def target(self, protocol: str, what: str, customers: str = "fast") -> Target | None:
        address = self._addresses.get("ftp" if protocol == "login" else protocol)
        if address is None or what not in self._paths or customers not in self._limited:
            return None
        user = ("", "") if protocol.startswith("http") else ("anonymous", "x")
        return Target(address, [(*user, f"{self._limited[customers]}/{self._paths[what]}")])

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _listens(self, address: Address) -> bool:
        if self._process.poll() is not None:
            raise Missing(f"it ended with {self._process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(address, 1):
            return True
        return False


def start_nginx(folder: Path, media: Path, paths: Mapping[str, str], certificate: Certificate) -> Peer:
    """nginx with one worker, as one gate is one process: sendfile, full packets, descriptors kept open."""
    program = _program("nginx")
    plain, secure = free_port(), free_port()
    config = folder / "nginx.conf"
    places = "".join(
        f"location /{name}/ {{ alias {media}/; limit_rate {rate}; }}\n" for name, rate in (("slow", 8000), ("middle", 64_000))
    )
    config.write_text(f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off; worker_processes 1; worker_rlimit_nofile {DESCRIPTORS};
pid {folder}/nginx.pid; error_log {folder}/nginx.error;
events {{ worker_connections {DESCRIPTORS}; use epoll; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;
  client_body_temp_path {folder}/nginx.1; proxy_temp_path {folder}/nginx.2; fastcgi_temp_path {folder}/nginx.3;
  uwsgi_temp_path {folder}/nginx.4; scgi_temp_path {folder}/nginx.5;
  server {{
    listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{secure} ssl;
    ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:a:1m;
    root {media};
    {places}
  }}
}}
""")
    addresses = {"http": ("127.0.0.1", plain), "https": ("127.0.0.1", secure)}
    command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx.error")]
    return Peer("nginx", command, folder / "nginx.log", paths, addresses, {"slow": "/slow", "middle": "/middle"})


def start_vsftpd(folder: Path, media: Path, paths: Mapping[str, str]) -> Peer:
    """vsftpd for anonymous users, a process for each of them as is its way."""
    program = _program("vsftpd")
    if os.geteuid() != 0:
        raise Missing("vsftpd needs root")
    port = free_port()
    empty, config = folder / "vsftpd.empty", folder / "vsftpd.conf"
    empty.mkdir(mode=0o755)
    options = {
        "listen": "YES", "listen_address": "127.0.0.1", "listen_port": port, "background": "NO", "anonymous_enable": "YES",
        "no_anon_password": "YES", "anon_root": media, "secure_chroot_dir": empty, "use_sendfile": "YES", "max_clients": 0,
        "max_per_ip": 0, "xferlog_enable": "NO", "ftp_username": _somebody(), "isolate_network": "NO",
    }  # fmt: skip
    config.write_text("".join(f"{name}={value}\n" for name, value in options.items()))
    return Peer("vsftpd", [program, str(config)], folder / "vsftpd.log", paths, {"ftp": ("127.0.0.1", port)})


def start_pyftpdlib(folder: Path, media: Path, paths: Mapping[str, str]) -> Peer:
    """pyftpdlib as it comes, which sends by sendfile."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.pyftpdlib_server", str(port), str(media)]
    return Peer("pyftpdlib", command, folder / "pyftpdlib.log", paths, {"ftp": ("127.0.0.1", port)})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _somebody() -> str:
    """A user without rights, who has a home: vsftpd insists on one."""
    for user in pwd.getpwall():
        if user.pw_name in ("ftp", "games", "daemon") and Path(user.pw_dir).is_dir():
            return user.pw_name
    raise Missing("vsftpd needs a user named ftp, with a home")


def _program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found
