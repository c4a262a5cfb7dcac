"""The worker: takes what waits in the outbox and sends it, one delivery at a time for each endpoint.

Any number of workers may run, in any process that reaches the database. An endpoint is leased to one of them while an
attempt runs: a dead endpoint holds up nobody else, and when a worker is killed the lease ends, at the latest, by itself. What
was sent but not written down as such is then sent again, under the same event id.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from standardwebhooks import Webhook

from ftpgate.processes import is_running
from ftpgate.settings import Settings
from ftpgate.translatable import TranslatableText
from webportal.core import clock
from webportal.core.sealing import Unreadable, unseal
from webportal.core.texts import Text
from webportal.fulfilment.prune import prune_some
from webportal.fulfilment.services import write_down_expired
from webportal.shops.services import forget_answers
from webportal.webhooks import schedule
from webportal.webhooks.models import Delivery, Endpoint
from webportal.webhooks.sending import Response, Unsent, post
from webportal.webhooks.services import PURPOSE, forget_events

_log = logging.getLogger(__name__)

AT_ONCE = 16
"""Attempts of one worker at the same time; each has a thread."""
LEASE = timedelta(seconds=60)
"""Longer than an attempt, which ends after 10 s and the look-up of a name: after a kill nobody else sends for so long."""
_LOOK_EVERY = 1.0
"""Seconds between two looks for what is due: an event leaves within about one."""
_EXPIRY_EVERY = 5.0
"""Seconds between two looks for grants that have expired and whose event is still to be made."""
_TIDY_EVERY = 600.0
"""Seconds between two deletions of what is old; after one that found something it goes on at once."""
_PRUNE_EVERY = 86_400.0
"""Seconds between two looks for old transfers; after one that found some it goes on at once."""
_GONE = 410
"""The status (RFC 9110, 15.5.11) by which a receiver ends its subscription."""
_WRITTEN = ("attempts", "attempted_at", "status", "answer", "failure_code", "failure_parameters", "state", "next_at")
_of_this_process: set[str] = set()
"""Names of workers. One of this process's number that is not here belonged to a process that had the number before."""


class _Job(NamedTuple):
    endpoint: int
    delivery: int
    url: str
    allow_internal: bool
    sealed: tuple[str, ...]
    event: str
    body: str
    at: datetime
    """When it was taken, by the database's clock."""


class _Done(NamedTuple):
    job: _Job
    answer: Response | None
    failure: TranslatableText | None


class Worker:
    """One worker; `run` until `stop`.

    All its database work happens on the thread that runs it; each attempt has a short-lived thread of its own.
    """

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()[:200]}:{os.getpid()}:{secrets.token_hex(4)}"
        _of_this_process.add(self.name)
        self._done: queue.SimpleQueue[_Done | None] = queue.SimpleQueue()
        self._running = 0
        self._stopping = False
        self._due = dict.fromkeys((self._expire, self._tidy, self._prune), 0.0)

    def run(self) -> None:
        """Work until `stop`. A database that is away is waited for."""
        failures = 0
        started = False
        while not self._stopping:
            try:
                if not started:
                    self._free_leases_of_the_dead()
                    started = True
                self._send_what_is_due()
                self._housekeeping()
                failures = 0
            except (DatabaseError, InterfaceError) as error:
                failures += 1
                _log.warning("the outbox cannot be read or written: %s", str(error).strip() or type(error).__name__)
                connection.close()
            except Exception:  # this thread is all that sends, and nobody would start it again
                failures += 1
                _log.exception("the outbox met an error")
            self._hear_of_attempts(_LOOK_EVERY * min(2**failures, 30))
        connection.close()

    def stop(self) -> None:
        """Let `run` return soon, from whichever thread or signal handler. Attempts under way are left to another worker."""
        self._stopping = True
        self._done.put(None)

    # ------------------------------------------------------------------------------------------ taking
    def _send_what_is_due(self) -> None:
        if self._running >= AT_ONCE or not self._ready(clock.now()).exists():  # asked first: it needs no lock
            return
        for job in self._take(AT_ONCE - self._running):
            self._running += 1
            try:
                _start(partial(self._attempt, job))
            except RuntimeError as error:  # no thread is to be had
                self._done.put(_Done(job, None, Text.PLAIN(text=str(error))))

    def _ready(self, now: datetime) -> QuerySet[Endpoint]:
        due = Delivery.objects.filter(endpoint=OuterRef("pk"), state=Delivery.State.WAITING, next_at__lte=now)
        return Endpoint.objects.filter(
            Exists(due),
            Q(backoff_until=None) | Q(backoff_until__lte=now),
            Q(leased_until=None) | Q(leased_until__lte=now),
            active=True,
        )

    def _take(self, most: int) -> list[_Job]:
        """Lease endpoints that have something due, those first that had their turn longest ago."""
        jobs = []
        with transaction.atomic():
            now = clock.now()
            ready = self._ready(now).order_by(F("attempted_at").asc(nulls_first=True), "pk")
            for endpoint in ready.select_for_update(skip_locked=True, no_key=True)[:most]:
                due = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.WAITING, next_at__lte=now)
                delivery = due.select_related("event").order_by("next_at", "pk").first()
                if delivery is None:
                    continue
                endpoint.leased_by, endpoint.leased_until, endpoint.attempted_at = self.name, now + LEASE, now
                endpoint.save(update_fields=["leased_by", "leased_until", "attempted_at"])
                signing = [endpoint.secret]
                if endpoint.previous_until is not None and endpoint.previous_until > now:
                    signing.append(endpoint.previous_secret)
                jobs.append(
                    _Job(
                        endpoint.pk,
                        delivery.pk,
                        endpoint.url,
                        endpoint.allow_internal,
                        tuple(signing),
                        delivery.event.public_id,
                        delivery.event.body,
                        now,
                    )
                )
        return jobs

    def _free_leases_of_the_dead(self) -> None:
        """What a worker of this machine had leased when it was killed need not wait for the lease's end."""
        host, pid, _ = self.name.rsplit(":", 2)
        leased = Endpoint.objects.filter(leased_by__startswith=f"{host}:", leased_until__gt=clock.now())
        for key, owner in leased.values_list("pk", "leased_by"):
            other = owner.rsplit(":", 2)[1]
            if owner not in _of_this_process if other == pid else not is_running(int(other)):
                Endpoint.objects.filter(pk=key, leased_by=owner).update(leased_by="", leased_until=None)

    # ------------------------------------------------------------------------------------------ sending
    def _attempt(self, job: _Job) -> None:
        answer: Response | None = None
        failure: TranslatableText | None = None
        try:
            answer = post(job.url, _headers(job), job.body.encode(), allow_internal=job.allow_internal)
        except Unsent as error:
            failure = error.why
        except Unreadable:
            failure = Text.SECRET_UNREADABLE()
        except Exception:
            _log.exception("an attempt to send %s failed in an unforeseen way", job.event)
            failure = Text.INTERNAL_ERROR()
        self._done.put(_Done(job, answer, failure))

    def _hear_of_attempts(self, seconds: float) -> None:
        """Write down what has become of attempts, until there was nothing to hear for a while or so long altogether."""
        deadline = time.monotonic() + seconds
        while not self._stopping:
            try:
                done = self._done.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if done is None:
                return
            self._running -= 1
            try:
                self._write_down(done)
            except (DatabaseError, InterfaceError):
                _log.warning("what became of %s cannot be written down: it will be sent again", done.job.event)
                connection.close()
                return
            except Exception:
                _log.exception("what became of %s cannot be written down: it will be sent again", done.job.event)
            deadline = min(deadline, time.monotonic() + 0.02)  # others may have ended too; and there may be more to send

    # ------------------------------------------------------------------------------------------ writing down
    def _write_down(self, done: _Done) -> None:
        with transaction.atomic():
            now = clock.now()
            endpoint = Endpoint.objects.select_for_update(no_key=True).filter(pk=done.job.endpoint).first()
            delivery = Delivery.objects.select_for_update().filter(pk=done.job.delivery).first()
            if endpoint is None or delivery is None:
                return  # deleted meanwhile
            arrived = done.answer is not None and 200 <= done.answer.status < 300
            delivery.attempts += 1
            delivery.attempted_at = now
            delivery.status = None if done.answer is None else done.answer.status
            _note_answer(delivery, done)
            if arrived:
                delivery.state = Delivery.State.DELIVERED
                endpoint.failures, endpoint.backoff_until = 0, None
            elif delivery.state == Delivery.State.WAITING:
                self._try_later(endpoint, delivery, now)
            if done.answer is not None and done.answer.status == _GONE:
                endpoint.active = False  # as Standard Webhooks has it: the receiver wants no more
            delivery.save(update_fields=_WRITTEN)
            if endpoint.leased_by == self.name:
                endpoint.leased_by, endpoint.leased_until = "", None
            endpoint.save(update_fields=["failures", "backoff_until", "active", "leased_by", "leased_until"])

    def _try_later(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> None:
        endpoint.failures += 1
        endpoint.backoff_until = now + schedule.backoff(endpoint.failures)
        wait = schedule.retry_after(delivery.attempts, random.random())  # noqa: S311 - spreads load
        delivery.next_at = min(now + wait, delivery.give_up_at)  # the last one when all of the time is over, not hours before
        if clock.expiry_time() >= delivery.give_up_at:
            delivery.state = Delivery.State.FAILED
            _log.warning("event %s was not taken by %s in three days", delivery.event_id, endpoint.public_id)

    # ------------------------------------------------------------------------------------------ besides
    def _housekeeping(self) -> None:
        for task, due in self._due.items():
            if time.monotonic() >= due:
                self._due[task] = time.monotonic() + task()

    def _expire(self) -> float:
        write_down_expired()
        clock.guard.tell(_log)
        return _EXPIRY_EVERY

    def _tidy(self) -> float:
        forgotten = forget_events() + forget_answers()
        return _TIDY_EVERY if not forgotten else _LOOK_EVERY

    def _prune(self) -> float:
        of: Settings = settings.FTPGATE
        pruned = prune_some(timedelta(seconds=of.keep_transfers)) if of.keep_transfers else 0
        if pruned:
            _log.info("deleted %d rows of transfers that ended longer ago than FTPGATE_KEEP_TRANSFERS", pruned)
        return _PRUNE_EVERY if not pruned else _LOOK_EVERY


def start_worker() -> Callable[[], None]:
    """Start a worker in a thread of this process; returns what stops it."""
    worker = Worker()
    threading.Thread(target=worker.run, name="webhooks", daemon=True).start()
    return worker.stop


def _start(attempt: Callable[[], None]) -> None:
    threading.Thread(target=attempt, name="webhook", daemon=True).start()


def _headers(job: _Job) -> dict[str, str]:
    """Standard Webhooks: the id never changes, the time and signatures are the attempt's."""
    signed = [Webhook(unseal(PURPOSE, sealed)).sign(job.event, job.at, job.body) for sealed in job.sealed]
    return {
        "Content-Type": "application/json",
        "User-Agent": "ftpgate-webhooks",
        "webhook-id": job.event,
        "webhook-timestamp": str(int(job.at.timestamp())),
        "webhook-signature": " ".join(signed),
    }


def _note_answer(delivery: Delivery, done: _Done) -> None:
    """What the endpoint answered, or why it did not take the event."""
    redirected = done.answer is not None and 300 <= done.answer.status < 400
    delivery.answer = "" if done.answer is None or redirected else done.answer.text
    delivery.set_failure(Text.REDIRECTED() if redirected else done.failure)
