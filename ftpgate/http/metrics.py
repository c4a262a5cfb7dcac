"""The gate's figures in the format of Prometheus, read off the gate when they are asked for: counting costs nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from ftpgate.access.push import Push
from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.journal_writer import JournalWriter
from ftpgate.net.loop_lag import EDGES, LoopLag
from ftpgate.notices import Kind
from ftpgate.shaping.leases.keeper import LeaseKeeper

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class GateMetrics:
    """What one gate has counted.

    Args:
        worker: its number, which every sample gets as a label; None where it has no siblings.
    """

    def __init__(self, gate: DeliveryContext, worker: int | None = None) -> None:
        self._gate = gate
        self._worker = worker

    def text(self) -> bytes:
        """The answer to a scrape."""
        return written(self._labelled())

    def _labelled(self) -> Iterator[Metric]:
        for family in self._families():
            if self._worker is not None:
                label = {"worker": str(self._worker)}
                family.samples = [sample._replace(labels={**label, **sample.labels}) for sample in family.samples]
            yield family

    def _families(self) -> Iterator[Metric]:
        gate, engine = self._gate, self._gate.engine
        yield GaugeMetricFamily("ftpgate_connections", "Open client connections, idle ones too.", gate.connections)
        yield GaugeMetricFamily("ftpgate_transfers", "Transfers that are running or not yet settled.", len(engine.transfers))
        running = sum(transfer.credit.acknowledged for transfer in engine.transfers)
        yield CounterMetricFamily(
            "ftpgate_acknowledged_bytes", "Bytes that clients have acknowledged.", engine.delivered + running
        )
        outcomes = CounterMetricFamily("ftpgate_transfers_ended", "Transfers that have ended, by outcome.", labels=["outcome"])
        for outcome in ("done", "cut", "stalled", "revoked", "error"):
            outcomes.add_metric([outcome], engine.outcomes.get(outcome, 0))
        yield outcomes
        yield GaugeMetricFamily("ftpgate_grants", "Grants held in memory.", len(gate.grant_cache.grants()))
        yield CounterMetricFamily("ftpgate_look_ups", "Tokens that the shop was asked about.", gate.grant_cache.look_ups)
        yield _histogram(gate.lag)
        yield GaugeMetricFamily("ftpgate_loop_lag_worst_seconds", "The loop's worst delay within ten seconds.", gate.lag.worst)
        yield GaugeMetricFamily("ftpgate_ledger_backlog", "Rows that are not recorded yet.", gate.ledger.backlog)
        yield CounterMetricFamily(
            "ftpgate_ledger_transactions", "Transactions that have recorded something.", gate.ledger.transactions
        )
        if gate.journal is not None:
            yield from _journal(gate.journal)
        if gate.membership is not None:
            yield GaugeMetricFamily("ftpgate_gates", "Gates that run or drain, as this one knows.", gate.membership.gates)
        refresher = gate.grant_cache.refresher
        yield CounterMetricFamily("ftpgate_status_polls", "Times that all grants in use were asked for.", refresher.polls)
        yield CounterMetricFamily("ftpgate_status_pushed", "Times that a notice had grants asked for.", refresher.hurried)
        if gate.push is not None:
            yield from _push(gate.push)
        if gate.leases is not None:
            yield from _leases(gate.leases)
        yield GaugeMetricFamily("ftpgate_healthy", "1 when nothing is wrong.", 0 if gate.health() else 1)


def _push(push: Push) -> Iterator[Metric]:
    yield GaugeMetricFamily("ftpgate_push_working", "1 when the database's notices arrive; it may have none.", int(push.works))
    yield CounterMetricFamily("ftpgate_push_reconnects", "Times that the connection of the push broke.", push.reconnects)
    notices = CounterMetricFamily("ftpgate_push_notices", "Notices that have arrived, by kind.", labels=["kind"])
    for kind in ("everything", *Kind):
        notices.add_metric([kind], push.received[kind])
    yield notices


class _Collected(Collector):
    """These families, for one scrape."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterator[Metric]:
        """Nothing: names need not be known before a scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def written(families: Iterator[Metric]) -> bytes:
    """The answer to a scrape with these families."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    return bytes(generate_latest(registry))


def _journal(journal: JournalWriter) -> Iterator[Metric]:
    yield GaugeMetricFamily("ftpgate_journal_rows", "Rows that the journal keeps for this gate.", journal.rows)
    yield GaugeMetricFamily("ftpgate_journal_bytes", "Bytes that the journal keeps for all gates.", journal.bytes)
    yield CounterMetricFamily("ftpgate_journal_failures", "Times that the journal took nothing.", journal.failures)
    yield CounterMetricFamily("ftpgate_journal_set_aside", "Broken journals that were set aside.", journal.set_aside)
    yield CounterMetricFamily(
        "ftpgate_journal_running_left_out", "Transfers that were not kept while they ran.", journal.running_left_out
    )


def _leases(leases: LeaseKeeper) -> Iterator[Metric]:
    yield GaugeMetricFamily("ftpgate_lease_store_up", "1 while the store that gates share rates by answers.", int(leases.up))
    yield GaugeMetricFamily("ftpgate_lease_shared", "Customers whom other gates serve too.", leases.shared)
    yield GaugeMetricFamily("ftpgate_lease_alone", "Customers whom only this gate serves.", leases.alone)
    yield CounterMetricFamily("ftpgate_lease_exchanges", "Calls of the store.", leases.calls.count)
    yield CounterMetricFamily("ftpgate_lease_failures", "Calls of the store without an answer.", leases.calls.failures)
    yield CounterMetricFamily("ftpgate_lease_exchange_seconds", "Seconds that calls of the store took.", leases.calls.seconds)


def _histogram(lag: LoopLag) -> Metric:
    edges = (*map(str, EDGES), "+Inf")
    buckets = list(zip(edges, lag.cumulative(), strict=True))
    return HistogramMetricFamily("ftpgate_loop_lag_seconds", "How late the loop has woken up.", buckets, lag.total)
