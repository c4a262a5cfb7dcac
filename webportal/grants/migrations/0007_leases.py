"""Leases between gates, on PostgreSQL: see `ftpgate.leases`. With SQLite they are in a file of the gates' own.

The tables are unlogged: what they hold is about the last seconds, and gates tell it again after a crash.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLES = """
CREATE UNLOGGED TABLE lease_gate (gate text PRIMARY KEY, seen double precision NOT NULL) WITH (fillfactor = 50);
CREATE UNLOGGED TABLE lease_account (
    customer text PRIMARY KEY, debt double precision NOT NULL, at double precision NOT NULL
) WITH (fillfactor = 50);
CREATE UNLOGGED TABLE lease_member (
    customer text, gate text, sent bigint NOT NULL, use bigint NOT NULL, hungry integer NOT NULL, used integer NOT NULL,
    wanted integer NOT NULL, bound integer NOT NULL, given double precision NOT NULL, seen double precision NOT NULL,
    state smallint NOT NULL, PRIMARY KEY (customer, gate)
) WITH (fillfactor = 50);
CREATE INDEX lease_member_called ON lease_member (gate) WHERE state = 2;
"""

# The rules are those of ftpgate/shaping/leases/rules.py, with its names and figures. States: 0 reports, 1 alone, 2 called.
# Locks are taken in one order, so that no two calls wait for each other: gates by name, accounts by name, then members.
# Rows of gates that have ended do not count, and are removed at the end of a call, as far as nobody else holds them.
FUNCTION = """
CREATE FUNCTION lease_exchange(
    me text, names text[], rates bigint[], places integer[], sents bigint[], uses bigint[], hungries integer[],
    useds integer[], wanteds integer[], bounds integer[], leaving text[], left_sents bigint[], ended text[],
    at_time double precision DEFAULT NULL
) RETURNS TABLE (kind text, customer text, rate bigint, connections integer, gates integer, alone boolean, awaited boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ttl CONSTANT double precision := 3.0;
    this_moment double precision := coalesce(at_time, extract(epoch FROM clock_timestamp()));
    heard double precision;
    gone text[];
BEGIN
    IF cardinality(ended) > 0 THEN
        PERFORM 1 FROM lease_gate WHERE gate = ANY(ended) ORDER BY gate FOR UPDATE;
        DELETE FROM lease_gate WHERE gate = ANY(ended);
    END IF;
    IF NOT me = ANY(ended) THEN
        SELECT seen INTO heard FROM lease_gate WHERE gate = me;
        IF abs(this_moment - heard) > ttl / 2 THEN
            PERFORM 1 FROM lease_gate ORDER BY gate FOR UPDATE;
            UPDATE lease_gate SET seen = this_moment;
        ELSIF EXISTS (SELECT FROM lease_gate WHERE gate <> me AND abs(this_moment - seen) > ttl) THEN
            PERFORM 1 FROM lease_gate WHERE gate <> me AND abs(this_moment - seen) > ttl ORDER BY gate FOR UPDATE;
            WITH dropped AS (DELETE FROM lease_gate WHERE gate <> me AND abs(this_moment - seen) > ttl RETURNING gate)
            SELECT array_agg(gate) INTO gone FROM dropped;
        END IF;
        INSERT INTO lease_gate AS g VALUES (me, this_moment) ON CONFLICT (gate) DO UPDATE SET seen = excluded.seen;
        IF cardinality(names) > 0 OR cardinality(leaving) > 0 THEN
            INSERT INTO lease_account SELECT name, 0, 0 FROM unnest(names) AS name ORDER BY name ON CONFLICT DO NOTHING;
            PERFORM 1 FROM lease_account WHERE customer = ANY(names || leaving) ORDER BY customer FOR UPDATE;
        END IF;
        IF heard IS NULL THEN  -- what an earlier life of this gate has left
            DELETE FROM lease_member WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM lease_member WHERE gate = me FOR UPDATE SKIP LOCKED));
        END IF;
        IF cardinality(leaving) > 0 THEN
            UPDATE lease_account AS a SET debt = a.debt + CASE
                WHEN m.state = 0 THEN greatest(l.sent - m.sent, 0)
                ELSE least(greatest(l.sent - m.sent, 0), m.given * greatest(this_moment - m.seen, 0)) END
            FROM unnest(leaving, left_sents) AS l(customer, sent)
            JOIN lease_member AS m ON m.customer = l.customer AND m.gate = me
            WHERE a.customer = l.customer;
            DELETE FROM lease_member WHERE gate = me AND customer = ANY(leaving);
            DELETE FROM lease_account AS a WHERE a.customer = ANY(leaving) AND NOT a.customer = ANY(names)
                AND NOT EXISTS (SELECT FROM lease_member AS m WHERE m.customer = a.customer);
        END IF;
        IF cardinality(names) > 0 THEN
            RETURN QUERY
            WITH report AS MATERIALIZED (
                SELECT r.*, a.debt, a.at, m.customer IS NULL AS new, coalesce(CASE
                    WHEN m.state = 0 THEN greatest(r.sent - m.sent, 0)
                    ELSE least(greatest(r.sent - m.sent, 0), r.use * greatest(this_moment - m.seen, 0)) END, 0) AS fresh
                FROM unnest(names, rates, places, sents, uses, hungries, useds, wanteds, bounds)
                    AS r(customer, rate, places, sent, use, hungry, used, wanted, bound)
                JOIN lease_account AS a ON a.customer = r.customer
                LEFT JOIN lease_member AS m ON m.customer = r.customer AND m.gate = me
            ), others AS MATERIALIZED (
                SELECT m.customer, count(*) AS number, bool_or(m.state = 1) AS calls, bool_or(m.state <> 0) AS awaited,
                    sum(m.bound) AS held,
                    sum(CASE WHEN m.state <> 0 THEN m.bound ELSE m.used + m.wanted END) AS taken_places,
                    sum(CASE WHEN m.state = 0 THEN m.hungry ELSE 0 END) AS weight,
                    sum(CASE WHEN m.state <> 0 THEN m.given WHEN m.hungry = 0 THEN m.use ELSE 0 END) AS taken,
                    sum(CASE WHEN m.state = 1 THEN 0
                        WHEN m.state = 2 OR m.hungry > 0 THEN m.given * greatest(this_moment - m.seen, 0)
                        ELSE least(m.use, m.given) * greatest(this_moment - m.seen, 0) END) AS unheard
                FROM lease_member AS m JOIN lease_gate AS g ON g.gate = m.gate
                WHERE m.customer = ANY(names) AND m.gate <> me
                GROUP BY m.customer
            ), owing AS (
                SELECT r.*, coalesce(o.number, 0) AS number, coalesce(o.awaited, false) AS awaited, coalesce(o.held, 0) AS held,
                    coalesce(o.taken_places, 0) AS taken_places, coalesce(o.weight, 0) AS weight, coalesce(o.taken, 0) AS taken,
                    coalesce(o.unheard, 0) AS unheard,
                    CASE WHEN o.calls OR (r.new AND o.number IS NULL) THEN 0
                        ELSE r.debt + r.fresh - r.rate * greatest(this_moment - r.at, 0) END AS owed
                FROM report AS r LEFT JOIN others AS o ON o.customer = r.customer
            ), judged AS (
                SELECT w.*, least(greatest(w.owed + w.unheard, -0.3 * w.rate), 0.5 * w.rate) AS known FROM owing AS w
            ), pooled AS (
                SELECT j.*, j.number = 0 AND j.known <= 0.05 * j.rate AS alone,
                    least(greatest(j.rate - j.known / 2.0, 0.25 * j.rate), 1.1 * j.rate) AS pool
                FROM judged AS j
            ), shared AS MATERIALIZED (
                SELECT p.*, CASE
                    WHEN p.alone THEN p.rate
                    WHEN p.number = 0 THEN p.pool
                    WHEN p.hungry = 0 THEN least(greatest(1.3 * p.use, p.use + 0.03 * p.rate), p.pool)
                    ELSE greatest(p.pool - p.taken, CASE WHEN p.awaited THEN 0.4 ELSE 0.1 END * p.pool) * p.hungry / (p.hungry + p.weight)
                    END :: double precision AS share,
                    CASE WHEN p.number = 0 THEN p.places ELSE greatest(p.used, least(
                        p.used + p.wanted + greatest(p.places - p.taken_places - p.used - p.wanted, 0) / (p.number + 1),
                        p.places - p.held)) END :: integer AS allowed
                FROM pooled AS p
            ), put AS (
                INSERT INTO lease_member AS m SELECT s.customer, me, s.sent, s.use, s.hungry, s.used, s.wanted,
                    greatest(s.allowed, s.bound), s.share, this_moment, CASE WHEN s.alone THEN 1 ELSE 0 END
                FROM shared AS s
                ON CONFLICT (customer, gate) DO UPDATE SET sent = excluded.sent, use = excluded.use, hungry = excluded.hungry,
                    used = excluded.used, wanted = excluded.wanted, bound = excluded.bound, given = excluded.given,
                    seen = excluded.seen, state = excluded.state
            ), kept AS (
                UPDATE lease_account AS a SET debt = s.known - s.unheard, at = this_moment
                FROM shared AS s WHERE a.customer = s.customer
            ), called AS (
                UPDATE lease_member AS m SET state = 2, seen = this_moment FROM others AS o
                WHERE o.calls AND m.customer = o.customer AND m.gate <> me AND m.state = 1
            )
            SELECT 'answer', s.customer, CASE WHEN s.rate = 0 THEN 0 ELSE greatest(floor(s.share), 1) END :: bigint, s.allowed,
                (s.number + 1) :: integer, s.alone, s.awaited
            FROM shared AS s;
        END IF;
        RETURN QUERY SELECT 'called', m.customer, NULL::bigint, NULL::integer, NULL::integer, NULL::boolean, NULL::boolean
            FROM lease_member AS m WHERE m.gate = me AND m.state = 2;
        IF heard IS NULL THEN
            RETURN QUERY SELECT 'unknown', NULL::text, NULL::bigint, NULL::integer, NULL::integer, NULL::boolean, NULL::boolean;
        END IF;
    END IF;
    IF cardinality(ended) > 0 OR cardinality(gone) > 0 THEN
        DELETE FROM lease_member WHERE ctid = ANY (ARRAY(
            SELECT m.ctid FROM lease_member AS m WHERE NOT EXISTS (SELECT FROM lease_gate AS g WHERE g.gate = m.gate)
            FOR UPDATE SKIP LOCKED));
        DELETE FROM lease_account WHERE ctid = ANY (ARRAY(
            SELECT a.ctid FROM lease_account AS a
            WHERE NOT EXISTS (SELECT FROM lease_member AS m WHERE m.customer = a.customer) FOR UPDATE SKIP LOCKED));
    END IF;
END $$;
"""

SIGNATURE = (
    "text, text[], bigint[], integer[], bigint[], bigint[], integer[], integer[], integer[], integer[], text[], bigint[], text[], "
    "double precision"
)


def make(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(TABLES)
        schema_editor.execute(FUNCTION)


def remove(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP FUNCTION lease_exchange({SIGNATURE})")
        schema_editor.execute("DROP TABLE lease_member, lease_account, lease_gate")


class Migration(migrations.Migration):
    dependencies = [("grants", "0006_gate_membership")]

    operations = [migrations.RunPython(make, remove)]
