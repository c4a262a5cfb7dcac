"""Which gates run: by their heartbeats and the database's clock, and what of their evidence is handed on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from ftpgate.grants import GONE_AFTER, Batch, Bridge, GateAddress, GateLoad, GateState
from tests.webportal.gateway.left import evidence, handed_on
from tests.webportal.shop import make_grant, make_item, make_user
from webportal.bridge import make_bridge
from webportal.config import environment
from webportal.core.processes import has_ended, identity
from webportal.grants.models import Gate
from webportal.grants.selectors import running_gates

pytestmark = pytest.mark.django_db


@pytest.fixture
def bridge() -> Bridge:
    return make_bridge(environment.current())


def another() -> Bridge:
    """The bridge of another gate on the same database."""
    return make_bridge(environment.current())


def gate(name: str, port: int = 1, pid: int | None = None, **fields: Any) -> GateAddress:
    address = f"127.0.0.1:{port}"
    return GateAddress(name, os.getpid() if pid is None else pid, time.time(), address, address, address, **fields)


def gone_pid() -> int:
    """The process id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def running_pid() -> Iterator[int]:
    """The process id of another process that runs."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def fall_silent(name: str, seconds: float) -> None:
    """Let it be so long ago that a gate was heard of last."""
    Gate.objects.filter(public_id=name).update(heartbeat_at=F("heartbeat_at") - timedelta(seconds=seconds))


def elsewhere(name: str) -> None:
    """Let a gate run on a machine of its own, of whose processes nothing is known here."""
    Gate.objects.filter(public_id=name).update(host="elsewhere", process="another boot pid:[1] 5")


def running() -> set[str]:
    return {found.public_id for found in running_gates()}


def test_a_gate_at_the_address_of_another_does_not_end_it(bridge: Bridge, running_pid: int) -> None:
    bridge.gate_started(gate("old", 1, running_pid))
    another().gate_started(gate("new", 1))
    assert running() == {"old", "new"}


def test_a_gate_whose_process_has_ended_here_is_gone_at_once_and_written_down_by_the_next(bridge: Bridge) -> None:
    bridge.gate_started(gate("dead", 1, gone_pid()))
    assert running() == set()
    another().gate_started(gate("new", 2))
    assert Gate.objects.get(public_id="dead").stopped_at is not None


def test_a_gate_of_another_machine_is_gone_when_nothing_is_heard_of_it(bridge: Bridge) -> None:
    bridge.gate_started(gate("far", 1, gone_pid()))
    elsewhere("far")
    assert running() == {"far"}
    fall_silent("far", GONE_AFTER - 2)
    assert running() == {"far"}
    fall_silent("far", 2.1)
    assert running() == set()


def test_a_gate_without_a_heartbeat_of_an_earlier_version_does_not_run_for_ever() -> None:
    Gate.objects.create(public_id="early", host="elsewhere", pid=1, started_at=timezone.now(), ftp="x:1", http="x:2", admin="x:3")
    assert running() == set()


def test_a_gate_that_stops_in_order_is_gone_and_its_last_heartbeat_does_not_bring_it_back(bridge: Bridge) -> None:
    me = gate("a")
    bridge.gate_started(me)
    bridge.gate_stopped("a")
    bridge.heartbeat(me, GateState.DRAINING, GateLoad())
    assert running() == set()
    assert Gate.objects.get().state == "stopped"


def test_a_heartbeat_tells_what_a_gate_does_and_hears_of_the_others(bridge: Bridge) -> None:
    me, other = gate("a", 1), gate("b", 2, advertised={"http": "b.example.org:80"})
    their_bridge = another()
    bridge.gate_started(me)
    their_bridge.gate_started(other)
    assert bridge.heartbeat(me, GateState.DRAINING, GateLoad(3, 2, 1_000_000, busy=True)).away == 0
    (heard,) = their_bridge.heartbeat(other, GateState.RUNNING, GateLoad()).others
    assert (heard.address.id, heard.state, heard.load) == ("a", GateState.DRAINING, GateLoad(3, 2, 1_000_000, busy=True))
    (heard,) = bridge.heartbeat(me, GateState.RUNNING, GateLoad()).others
    assert heard.address.advertised == {"http": "b.example.org:80"}
    assert heard.host == os.uname().nodename


def test_a_gate_that_comes_back_hears_that_it_had_counted_as_gone(bridge: Bridge) -> None:
    me = gate("a")
    bridge.gate_started(me)
    fall_silent("a", GONE_AFTER + 5)
    assert running() == set()
    assert bridge.heartbeat(me, GateState.RUNNING, GateLoad()).away > GONE_AFTER
    assert running() == {"a"}
    assert bridge.heartbeat(me, GateState.RUNNING, GateLoad()).away == 0


def test_a_gate_that_the_list_has_lost_is_entered_again(bridge: Bridge) -> None:
    me = gate("a")
    bridge.gate_started(me)
    Gate.objects.all().delete()
    bridge.heartbeat(me, GateState.RUNNING, GateLoad(1))
    assert running() == {"a"}
    assert Gate.objects.get().connections == 1


@pytest.mark.parametrize("state", [GateState.RUNNING, GateState.DRAINING])
def test_evidence_of_a_gate_that_still_serves_is_not_handed_on(bridge: Bridge, running_pid: int, state: GateState) -> None:
    """The first case: a gate that has closed its listeners goes on while another one has taken its address."""
    grant, token = make_grant(make_user(), make_item(100))
    old, old_bridge = gate("old", 1, running_pid), another()
    old_bridge.gate_started(old)
    old_bridge.heartbeat(old, state, GateLoad())
    old_bridge.record("old", Batch(segments=(evidence("of old", grant.public_id),)))
    bridge.gate_started(gate("new", 1))
    assert handed_on(bridge, token) == []
    old_bridge.gate_stopped("old")
    assert handed_on(bridge, token) == ["of old"]


def test_evidence_of_a_gate_of_another_machine_that_died_is_handed_on(bridge: Bridge) -> None:
    grant, token = make_grant(make_user(), make_item(100))
    far = another()
    far.gate_started(gate("far", 1))
    elsewhere("far")
    far.record("far", Batch(segments=(evidence("of far", grant.public_id),)))
    bridge.gate_started(gate("here", 1))
    assert handed_on(bridge, token) == []
    fall_silent("far", GONE_AFTER + 1)
    assert handed_on(bridge, token) == ["of far"]


def test_evidence_of_a_killed_gate_of_this_machine_is_handed_on_at_once(bridge: Bridge) -> None:
    grant, token = make_grant(make_user(), make_item(100))
    bridge.gate_started(gate("a", 1, gone_pid()))
    bridge.gate_started(gate("b", 2))
    bridge.record("a", Batch(segments=(evidence("of a", grant.public_id),)))
    assert handed_on(bridge, token) == ["of a"]


def test_evidence_of_the_gate_that_asks_is_handed_on_to_it(bridge: Bridge) -> None:
    grant, token = make_grant(make_user(), make_item(100))
    bridge.gate_started(gate("b", 2))
    bridge.record("b", Batch(segments=(evidence("of b", grant.public_id, "z1"),)))
    assert handed_on(bridge, token) == ["of b"]


# ------------------------------------------------------------------------------------------ processes


def test_a_process_is_told_from_a_later_one_of_its_number(running_pid: int) -> None:
    known_as = identity(running_pid)
    assert known_as
    assert not has_ended(running_pid, known_as)
    where, _, started = known_as.rpartition(" ")
    assert has_ended(running_pid, f"{where} {int(started) - 1}")


def test_nothing_is_told_of_processes_of_another_machine_boot_or_namespace(running_pid: int) -> None:
    _, _, started = identity(running_pid).rpartition(" ")
    assert not has_ended(gone_pid(), f"another boot pid:[1] {started}")
    assert not has_ended(gone_pid(), "")


def test_a_process_that_nobody_has_waited_for_has_ended() -> None:
    process = subprocess.Popen(["true"])
    known_as = identity(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(process.pid, known_as)
    process.wait()
