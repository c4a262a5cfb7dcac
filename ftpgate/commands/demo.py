"""`ftpgate demo`: everything on one machine, on loopback addresses, until Ctrl-C."""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ftpgate import private
from ftpgate import settings as settings_module
from ftpgate.commands.shop import load_shop
from ftpgate.errors import UserError
from ftpgate.settings import Address, Settings
from ftpgate.translatable import os_reason

_START_SECONDS = 60.0
"""Until portal and gate have to answer."""
_STOP_SECONDS = 15.0
"""Between SIGTERM and SIGKILL."""
_LAST_LINES = 20
"""Of the log of a process that did not start; looked through for its error."""
_OWN = ("DATABASE_URL", "MEDIA_ROOT", "FTPS", "HTTPS", "TLS", "TLS_CERT", "TLS_KEY", "PUBLIC_HOST", "EMAIL_URL")
"""Settings that the demo does not take over: it must never touch a real shop's database, listen to the world or write to it."""
_PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent is gone."""


def demo(*, state_dir: Path | None, portal: Address | None, ftp: Address | None, http: Address | None) -> int:
    """Prepare what is missing, run portal and gate, end both with Ctrl-C or SIGTERM. Returns the exit status.

    Raises:
        UserError: an address is not a loopback one or is in use, or a process did not start.
    """
    environ = {f"FTPGATE_{name}": "" for name in _OWN}
    given = {"STATE_DIR": state_dir and state_dir.absolute(), "PORTAL": portal, "FTP": ftp, "HTTP": http}
    environ |= {f"FTPGATE_{name}": str(value) for name, value in given.items() if value is not None}
    if "FTPGATE_ADMIN" not in os.environ:
        environ["FTPGATE_ADMIN"] = "127.0.0.1:0"  # nobody has to know it; two demos must not meet there
    settings = settings_module.load({**os.environ, **environ})
    environ["FTPGATE_STATE_DIR"] = str(settings.state_dir)
    environ["FTPGATE_PORTAL"] = str(_check_addresses(settings))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = settings_module.load({**os.environ, **environ})
        private.close(settings.state_dir)
        print(f"Preparing the demo in {settings.state_dir} …", flush=True)
        made = load_shop(settings).demo()
        with _Processes(settings, environ) as processes:
            addresses = processes.start()
            print(_welcome(settings, made, addresses), flush=True)
            return processes.wait()
    except KeyboardInterrupt:
        print("\nThe demo has ended; its data stays for the next time.", flush=True)
        return 0


class _Processes:
    """The portal and the gate, as children. They end with this process, however it ends."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = {**os.environ, **environ}
        self._running: dict[str, subprocess.Popen[str]] = {}

    def start(self) -> dict[str, Any]:
        """Start both and wait until they answer; returns the gate's ready line."""
        gate = self._start("gate", "serve")
        portal = self._start("portal", "portal")
        deadline = time.monotonic() + _START_SECONDS
        ready = self._ready_line(gate, deadline)
        while not _answers(self._settings.portal):
            self._check("portal", portal, deadline)
            time.sleep(0.1)
        return ready

    def wait(self) -> int:
        """Until one of them ends, which neither does by itself."""
        while True:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise self._failed(name, process)
            time.sleep(0.2)

    def _start(self, name: str, command: str) -> subprocess.Popen[str]:
        with self._log(name).open("w") as log:
            # In a group of its own, so that Ctrl-C reaches it through us and once.
            self._running[name] = process = subprocess.Popen(
                [sys.executable, "-m", "ftpgate", command],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "gate" else log,
                stderr=log,
                text=True,
                process_group=0,
                preexec_fn=_end_with_parent,
            )
        return process

    def _ready_line(self, gate: subprocess.Popen[str], deadline: float) -> dict[str, Any]:
        assert gate.stdout is not None
        while not select.select([gate.stdout], [], [], 0.1)[0]:
            self._check("gate", gate, deadline)
        line = gate.stdout.readline()
        if not line:
            gate.wait(_STOP_SECONDS)
            raise self._failed("gate", gate)
        ready: dict[str, Any] = json.loads(line)
        return ready

    def _check(self, name: str, process: subprocess.Popen[str], deadline: float) -> None:
        if process.poll() is not None:
            raise self._failed(name, process)
        if time.monotonic() > deadline:
            raise UserError(f"the {name} does not answer after {_START_SECONDS:.0f} s", f"see {self._log(name)}")

    def _failed(self, name: str, process: subprocess.Popen[str]) -> UserError:
        lines = self._log(name).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        said = lines[-1].removeprefix("ftpgate: ") if lines else f"exit status {process.returncode}"
        return UserError(f"the {name} has ended ({said})", f"see {self._log(name)}")

    def _log(self, name: str) -> Path:
        return self._settings.state_dir / f"demo-{name}.log"

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        try:
            for process in self._running.values():
                process.wait(max(0.1, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            for process in self._running.values():
                process.kill()
                process.wait()


def _check_addresses(settings: Settings) -> Address:
    """Loopback and free, all of them. Returns the portal's, with a free port in place of 0."""
    portal = settings.portal
    for name, address in (("portal", portal), ("ftp", settings.ftp), ("http", settings.http), ("admin", settings.admin)):
        option = f"--{name}" if name != "admin" else "FTPGATE_ADMIN"
        if not _is_loopback(address.host):
            raise UserError(f"{address} is not a loopback address, and the demo's passwords are not for the world",
                            f"use {option} 127.0.0.1:{address.port}")  # fmt: skip
        try:
            with closing(socket.create_server(address[:2], family=_family(address))) as listener:
                port = listener.getsockname()[1]
        except OSError as error:
            raise UserError(
                f"{address} cannot be listened on ({os_reason(error)})",
                f"end what listens there, or choose another with {option} 127.0.0.1:0 (any free port)",
            ) from None
        if name == "portal":
            portal = Address(address.host, port)
    return portal


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _answers(address: Address) -> bool:
    try:
        socket.create_connection(address[:2], timeout=1).close()
    except OSError:
        return False
    return True


def _end_with_parent() -> None:
    """In the child: SIGTERM when the parent is gone, so that even its SIGKILL leaves nothing running (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _welcome(settings: Settings, made: Mapping[str, Any], gate: Mapping[str, Any]) -> str:
    width = max(len(user["name"]) for user in made["users"])
    users = "\n".join(f"    {user['name']:<{width}}  {user['password']}  {user['about']}" for user in made["users"])
    return f"""
The portal is at  http://{settings.portal}/
The gate serves   http://{gate["http"]}/ and ftp://{gate["ftp"]}/ to those who have a token.

Sign in as
{users}

Put an album in the cart, check out, and fetch it with the commands that the page shows.
Logs, and the mails that would be sent: {settings.state_dir}/demo-portal.log and demo-gate.log.   Ctrl-C ends everything.
"""
