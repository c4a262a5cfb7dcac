"""Who may come in: tokens looked up off the loop, grants in use kept fresh, strangers kept out.

A grant that was opened stays in a bounded cache and is kept fresh (`access/refreshing.py`), so that a revocation or another
tier arrives within two seconds, and at once where the shop pushes. While the database is away, what is cached goes on; what is
not cannot be judged.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ftpgate.access.failed_tokens import FailedTokenLimiter, Told
from ftpgate.access.ledger import Ledger
from ftpgate.access.look_ups import LookUp, LookUps
from ftpgate.access.open_grant import OpenGrant
from ftpgate.access.refreshing import LATE, Refresher
from ftpgate.clock import ClockGuard
from ftpgate.errors import DeadToken, GateError, TooManyWrongTokens, Unavailable, UnknownToken
from ftpgate.grants import Bridge, Grant, GrantState, GrantStatus
from ftpgate.net.executor import Executor
from ftpgate.net.timer import CallLater
from ftpgate.shaping.customer import Customer, GlobalLimiter
from ftpgate.shaping.leases.keeper import LeaseKeeper
from ftpgate.tokens import Token

_log = logging.getLogger(__name__)
_access_log = logging.getLogger("ftpgate.access")
"""Its lines, `failed token from ADDRESS`, are for programs too: see deploy/fail2ban."""

REFRESH_EVERY = 1.0
"""Seconds between two looks at the grants in use: without a push, revocations and changed tiers reach transfers within 2 s."""
IDLE = 60.0
"""Seconds that a grant which nobody uses stays in the cache."""
CACHED = 10_000
"""Grants in the cache that nobody uses, at the most."""

LOOKUP_TIMEOUT = 10.0
"""Seconds that a client waits for its token to be looked up. A database that hangs, or a host that is gone, says nothing."""

AdmitCallback = Callable[[OpenGrant | None, GateError | None], None]
LoginCallback = Callable[[str, OpenGrant | None, GateError | None], None]
"""As `AdmitCallback`, after the credential that was judged last."""
Gone = Callable[[], bool]
"""Has the client left? Then nothing is looked up for it any more."""

_NOT_THIS_ONE = (UnknownToken, DeadToken, TooManyWrongTokens)


class _Waiting(NamedTuple):
    """A client whose token is being looked up."""

    peer: str
    answer: AdmitCallback
    gone: Gone
    since: float
    counted: bool = True
    """Is it noted when the token is unknown?"""


def _stays() -> bool:
    return False


class GrantCache:
    """Opens grants for tokens.

    Args:
        bridge: the shop; called off the loop only.
        offloop: where its calls run.
        ledger: where the coverage of the grants goes.
        call_later: the loop's.
        grace: seconds that a complete grant keeps serving.
        total_rate: bytes a second of all customers together; 0 for no limit.
        clock: by which grants expire.
        leases: where customers are shared with other gates; None for a gate that is the only one.
    """

    def __init__(
        self, bridge: Bridge, executor: Executor, ledger: Ledger, call_later: CallLater, *,
        grace: float, total_rate: int = 0, clock: ClockGuard | None = None, leases: LeaseKeeper | None = None,
    ) -> None:  # fmt: skip
        self.clock = clock or ClockGuard()
        self._bridge = bridge
        self._executor = executor
        self._line = LookUps(executor, call_later)
        self._ledger = ledger
        self._call_later = call_later
        self._grace = grace
        self._limiter = GlobalLimiter(total_rate, call_later) if total_rate else None
        self._leases = leases
        self._grants: OrderedDict[str, OpenGrant] = OrderedDict()
        self._used: dict[str, float] = {}
        self._customers: dict[str, Customer] = {}
        self._waiting: dict[bytes | str, list[_Waiting]] = {}
        """Who waits for a look-up: of a token by its digest, of a grant by its id."""
        self._failed_tokens = FailedTokenLimiter()
        self._told = Told()
        self.refresher = Refresher(bridge, executor, self._grants, self._refreshed)
        self._renewing: set[str] = set()
        """Grants whose items are being looked up anew."""
        ledger.report_to(self)
        call_later(REFRESH_EVERY, self._refresh)

    @property
    def look_ups(self) -> int:
        """Tokens and grants that were looked up in the shop; for the metrics."""
        return self._line.asked

    def admit(self, presented: str, peer: str, answer: AdmitCallback, gone: Gone = _stays, *, counted: bool = True) -> None:
        """Find the grant that `presented` opens, then `answer(grant, None)` or `answer(None, error)` on the loop.

        The answer comes at once when the grant is in use, and later otherwise; a front holds back what the client sends
        meanwhile. One that has expired is asked for anew, since it may have been renewed a moment ago; that costs no more
        look-ups than an unknown token does. Errors: UnknownToken, DeadToken, TooManyWrongTokens, Unavailable.

        Args:
            counted: is an unknown token held against the address?
        """
        token = Token.parse(presented)
        if token is None:
            return answer(None, UnknownToken())  # no guess: a name that clients try first, or half an address
        digest = token.digest()
        held = self._grants.get(token.grant)
        if held is not None and digest in held.status.live_tokens and not held.status.expired(self.clock.expiry_time()):
            return self._admitted(held, digest, answer)
        self._look_up(digest, lambda: self._bridge.look_up(token), _Waiting(peer, answer, gone, time.monotonic(), counted))

    def log_in(self, user: str, password: str, peer: str, answer: LoginCallback, gone: Gone = _stays) -> None:
        """Admit whoever gives a token as user name or as password, the same over FTP and HTTP.

        Beside the token anything is allowed, also another one: of an older link that a client has remembered. When none
        of two opens anything, a dead one says more than an unknown one, and an unknown one is held against the address.
        """
        given = [text for text in dict.fromkeys((user, password)) if Token.parse(text) is not None]
        self._log_in(given or [password], peer, answer, gone, None)

    def _log_in(self, given: Sequence[str], peer: str, answer: LoginCallback, gone: Gone, before: GateError | None) -> None:
        presented, *others = given

        def judged(grant: OpenGrant | None, error: GateError | None) -> None:
            if not isinstance(error, _NOT_THIS_ONE):
                return answer(presented, grant, error)
            if others:
                return self._log_in(others, peer, answer, gone, error)
            if before is not None and not isinstance(before, DeadToken):
                self._note_wrong(peer)
            answer(presented, grant, before if isinstance(before, DeadToken) else error)

        self.admit(presented, peer, judged, gone, counted=not others)

    def watch(self, name: str, peer: str, answer: AdmitCallback) -> None:
        """Find the grant with this id for somebody who may look on without a token of it; answers as `admit` does.

        Who follows a grant that was renewed a moment ago comes sooner than the next refresh: one that is held and opens
        nothing is asked for anew. Only the shop's own pages get here, so that costs no stranger's look-ups.
        """
        held = self._grants.get(name)
        if held is not None and held.status.opens(self.clock.expiry_time(), self._grace):
            return self._opened(held, answer)
        self._look_up(name, lambda: self._bridge.look_up_grant(name), _Waiting(peer, answer, _stays, time.monotonic()))

    def check_open(self, grant: OpenGrant, digest: bytes | None = None) -> None:
        """Raises `DeadToken` when new transfers under `grant` may not start any more.

        Args:
            digest: of the token that the client was admitted with, when that was a while ago; it may have been replaced since.
        """
        if digest is not None and digest not in grant.status.live_tokens:
            raise DeadToken()
        grant.check_open(self.clock.expiry_time(), self._grace)

    def grants(self) -> Sequence[OpenGrant]:
        """The grants in the cache."""
        return tuple(self._grants.values())

    def changed(self, statuses: Sequence[GrantStatus]) -> None:
        """The ledger has heard of these from the shop; on the loop."""
        asked_at = time.monotonic() - LATE
        for status in statuses:
            self._change(status)
            self.refresher.answered(status.id, asked_at)

    def returned(self) -> None:
        """This gate had counted as gone (`Heartbeat.away`), and others may have served its grants: nothing that is held is known
        to be fresh. What nobody uses is given up, so that it is looked up again with all that was recorded meanwhile."""
        for grant in self.grants():
            if not grant.in_use:
                self._forget(grant)
        self.refresher.everything()

    def _change(self, status: GrantStatus) -> None:
        held = self._grants.get(status.id)
        if held is not None:
            held.change(status)
            if status.revision != held.grant.status.revision:
                self.renew(status.id)

    def _look_up(self, key: bytes | str, ask: Callable[[], Grant | None], client: _Waiting) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(client)
            return
        waiting = self._waiting[key] = [client]
        look_up = LookUp(
            ask,
            partial(self._found, key, client.since),
            lambda: not all(client.gone() for client in waiting),
        )
        # A signed link comes from the shop's own pages: it is no guess, wherever it is used.
        doubtful = isinstance(key, bytes) and self._failed_tokens.doubtful(client.peer, client.since)
        try:
            self._line.add(client.peer, look_up, doubtful=doubtful)
        except GateError as error:
            del self._waiting[key]
            client.answer(None, error)

    def _found(self, key: bytes | str, asked_at: float, grant: Grant | None, error: GateError | None) -> None:
        held = None
        if grant is not None:
            self._hear_clock(grant.status, asked_at)
            held = self._keep(grant, asked_at)
        for client in self._waiting.pop(key, ()):
            with _alone():
                if error is not None:
                    client.answer(None, error)
                elif held is None:
                    self._wrong(client)
                elif isinstance(key, bytes):
                    self._admitted(held, key, partial(self._looked_up, client))
                else:
                    self._opened(held, client.answer)

    def _looked_up(self, client: _Waiting, grant: OpenGrant | None, error: GateError | None) -> None:
        if isinstance(error, DeadToken):
            self._failed_tokens.dead(client.peer, time.monotonic())
        client.answer(grant, error)

    def _send_away(self, now: float) -> None:
        """Ask those to come again who have waited long enough. A look-up that is under way is not asked for twice; one that is
        not is dropped when nobody waits for it."""
        for waiting in tuple(self._waiting.values()):
            tired = [client for client in waiting if now - client.since >= LOOKUP_TIMEOUT]
            waiting[:] = [client for client in waiting if now - client.since < LOOKUP_TIMEOUT and not client.gone()]
            for client in tired:
                with _alone():
                    client.answer(None, Unavailable())

    def _keep(self, grant: Grant, asked_at: float) -> OpenGrant:
        """The grant in use with this id, brought up to date by an answer to a question of that time, or a new one."""
        held = self._grants.get(grant.id)
        if held is None:
            customer = self._customers.get(grant.status.user)
            if customer is None:
                customer = Customer(grant.status.user, grant.status.tier, self._call_later, self._limiter)
                self._customers[grant.status.user] = customer
                if self._leases is not None:
                    self._leases.join(customer)
            held = self._grants[grant.id] = OpenGrant(grant, customer, self._ledger)
            held.inherit(*self._ledger.recovered(grant.id))
        elif grant.status.revision != held.grant.status.revision:
            held.renew(grant)
        held.change(grant.status)
        for file, spans in grant.covered.items():
            held.merge(file, tuple(spans))
        held.inherit({}, grant.segments)
        self.refresher.answered(grant.id, asked_at)
        return held

    def recover(self, name: str) -> None:
        """Open a grant with what ended gates left of it, which nobody may ever ask for again."""
        held = self._grants.get(name)
        if held is not None:
            return held.inherit(*self._ledger.recovered(name))

        asked_at = time.monotonic()

        def found(grant: Grant | None, error: GateError | None) -> None:
            if grant is not None:
                self._keep(grant, asked_at)
            elif error is None:
                self._ledger.forget(name)

        with suppress(GateError):  # it is asked for again
            self._executor.submit(lambda: self._bridge.look_up_grant(name), found)

    def renew(self, name: str) -> None:
        """Look up anew what a grant holds, and what gates have left of it that serve it no longer. When that fails because of the
        database, the next refreshing finds another revision still; what gates left is found by the next look-up of a token."""
        if name in self._renewing:
            return
        asked_at = time.monotonic()

        def found(grant: Grant | None, _error: GateError | None) -> None:
            self._renewing.discard(name)
            if grant is not None and name in self._grants:
                self._keep(grant, asked_at)

        try:
            self._executor.submit(lambda: self._bridge.look_up_grant(name), found)
        except GateError:
            return
        self._renewing.add(name)

    def _admitted(self, grant: OpenGrant, digest: bytes, answer: AdmitCallback) -> None:
        def opened(grant: OpenGrant | None, error: GateError | None) -> None:
            if grant is not None:
                self._ledger.used(digest)
            answer(grant, error)

        self._opened(grant, opened, digest)

    def _opened(self, grant: OpenGrant, answer: AdmitCallback, digest: bytes | None = None) -> None:
        self._used[grant.id] = time.monotonic()
        try:
            self.check_open(grant, digest)
        except GateError as error:
            return answer(None, error)
        answer(grant, None)

    def _wrong(self, client: _Waiting) -> None:
        locked = self._failed_tokens.locked(client.peer, time.monotonic())
        if client.counted:
            self._note_wrong(client.peer)
        client.answer(None, TooManyWrongTokens(retry_after=locked) if locked else UnknownToken())

    def _note_wrong(self, peer: str) -> None:
        now = time.monotonic()
        self._failed_tokens.wrong(peer, now)
        if self._told.tells(peer, now):
            _access_log.warning("failed token from %s", peer)

    def _refresh(self) -> None:
        self._call_later(REFRESH_EVERY, self._refresh)
        now = time.monotonic()
        self.clock.tell(_log)
        asked_about = 1 if self.clock.wrong() else 0  # a grant at the least, for its status tells the database's time
        self._send_away(now)
        for address, number in self._told.over(now):
            _access_log.warning("failed token from %s (%d more)", address, number)
        for grant in tuple(self._grants.values()):
            grant.settle()
            if grant.in_use:
                self._used[grant.id] = now  # a client that was cut comes back, and its segments are known here
            idle = now - self._used.get(grant.id, 0.0)
            if not grant.in_use and (idle > IDLE or len(self._grants) > CACHED) and len(self._grants) > asked_about:
                self._forget(grant)
        named = {grant.customer.name for grant in self._grants.values()}
        for customer in tuple(self._customers.values()):
            if customer.idle and customer.name not in named:
                del self._customers[customer.name]
                if self._leases is not None:
                    self._leases.leave(customer)
        self.refresher.tick()

    def _refreshed(self, names: Sequence[str], found: Sequence[GrantStatus], asked_at: float) -> None:
        if found:
            self._hear_clock(found[0], asked_at)
        for status in found:
            self._change(status)
        there = {status.id for status in found}
        for name in names:
            if name not in there and (gone := self._grants.get(name)) is not None:
                gone.change(replace(gone.status, state=GrantState.REVOKED))
                if not gone.in_use:
                    self._forget(gone)

    def _hear_clock(self, status: GrantStatus, asked_at: float) -> None:
        if status.as_of is not None:
            self.clock.heard(status.as_of, time.monotonic() - asked_at)

    def _forget(self, grant: OpenGrant) -> None:
        del self._grants[grant.id]
        self._used.pop(grant.id, None)


@contextmanager
def _alone() -> Iterator[None]:
    """One client's error must not leave those waiting for ever that wait with it."""
    try:
        yield
    except Exception:
        _log.exception("a front met an error when it was told of its token")
