"""Databases of earlier versions, with rows in them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.apps import apps as installed
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone, translation

from tests.webportal.shop import leave_unconfirmed, make_grant, make_item, make_user
from tests.webportal.webhooks.shops import make_endpoint, make_shop
from webportal.catalogue.models import FileReport, ImportJob
from webportal.core.translatable import translated
from webportal.fulfilment.by_word import complete_by_word
from webportal.grants.models import Gate, Grant, GrantItem, GrantToken, Segment
from webportal.grants.selectors import details, running_gates
from webportal.history.models import Completion, Proof
from webportal.webhooks.models import Delivery

MODELS = {
    "accounts": ("signin", "tier", "user"),
    "api": ("apikey", "idempotentresponse", "shop", "shopuser"),
    "cart": ("cartitem",),
    "catalogue": ("file", "filereport", "importjob", "item"),
    "grants": ("coverage", "gate", "grant", "grantitem", "granttoken", "segment"),
    "history": ("completion", "transfer"),
    "notices": ("notice",),
    "webhooks": ("delivery", "endpoint", "event"),
}
"""By app label: tables, content types and permissions of existing installations have these names, wherever the code is."""
MIGRATIONS = {
    "accounts": ("0001_initial", "0002_default_tier", "0003_preferences", "0004_sign_ins"),
    "api": ("0001_initial",),
    "cart": ("0001_initial",),
    "catalogue": ("0001_initial", "0002_item_orders", "0003_imports_and_withdrawals", "0004_file_identity"),
    "grants": ("0001_initial", "0002_segments"),
    "history": ("0001_initial", "0002_transfers_by_time", "0003_proof"),
    "notices": ("0001_initial",),
    "webhooks": ("0001_initial",),
}
"""What version 0.1.0 has recorded as applied; later ones come behind."""


def migrate(*targets: tuple[str, str]) -> MigrationExecutor:
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets))
    return MigrationExecutor(connection)


@pytest.mark.django_db(transaction=True)
def test_completions_rest_on_delivery_and_the_ranges_of_old_versions_go() -> None:
    item, other, user = make_item(10), make_item(20), make_user()
    grant, _ = make_grant(user, item, other)
    entry = GrantItem.objects.get(grant=grant, item=item)
    before = [("grants", "0001_initial"), ("history", "0002_transfers_by_time")]
    apps = migrate(*before).loader.project_state(before).apps
    done = timezone.now() - timedelta(days=3)
    apps.get_model("history", "Completion").objects.create(grant_item_id=entry.pk, completed_at=done)
    apps.get_model("grants", "Doubt").objects.create(grant_id=grant.pk, resource="f1", gate="a", spans=[[0, 5]])
    assert "grants_segment" not in connection.introspection.table_names()

    migrate(("grants", "0003_hidden_bytes"), ("history", "0003_proof"))
    completion = Completion.objects.get()
    assert (completion.proof, completion.completed_at) == (Proof.DELIVERED, done)
    assert "grants_doubt" not in connection.introspection.table_names()
    assert not Segment.objects.exists()
    assert [found.proof for found in details(Grant.objects.get())] == ["delivered", None]
    migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())
    leave_unconfirmed(grant, other, {1: (0, 20)})
    assert complete_by_word(grant, other, user).proof == Proof.CUSTOMER


def old_text(template: str, /, **values: object) -> str:
    """A text as versions before 0.2.0 stored it."""
    return "\x1e" + json.dumps(taken_apart(template, values))


def taken_apart(template: str, values: dict[str, object]) -> object:
    return [template, values]


@pytest.mark.django_db(transaction=True)
def test_texts_become_codes_with_parameters() -> None:
    item, user = make_item(10, 20, 30), make_user()
    grant, _ = make_grant(user, item)
    shop = make_shop()
    endpoint, _ = make_endpoint(shop)
    before = [("catalogue", "0004_file_identity"), ("grants", "0003_hidden_bytes"), ("webhooks", "0001_initial")]
    apps = migrate(*before).loader.project_state(before).apps
    now = timezone.now()

    def left_out(path: str, reason: str) -> object:
        return taken_apart("%(path)s (%(reason)s)", {"path": path, "reason": [reason, {}]})

    both = {"s0": left_out("Thumbs.db", "left by a desktop system"), "s1": left_out("x\udcff", "hidden, and no audio")}
    names = ["%(s0)s, %(s1)s", both]
    messages = {
        "refused": old_text("%(cause)s: %(hint)s", cause=["%(folder)r is no folder", {"folder": "Соль"}], hint=["try again", {}]),
        "joined": old_text(
            "%(s0)s; %(s1)s",
            s0=["the tags of %(files)s cannot be read; imported without", {"files": "'1.ogg'"}],
            s1=["left out: %(names)s", {"names": names}],
        ),
        "plain": "as it was stored long ago",
        "unknown": old_text("of a %(kind)s version", kind=["strange", {}]),
        "broken": "\x1e[",
        "nothing": "",
    }
    for folder, message in messages.items():
        apps.get_model("catalogue", "ImportJob").objects.create(
            folder=folder, user_id=user.pk, state="failed", message=message, started_at=now, heard_at=now
        )
    reasons = [old_text("cannot be read (%(reason)s)", reason=["Permission denied", {}]), "is gone", old_text("has changed")]
    for file, reason in zip(item.files.order_by("position"), reasons, strict=True):
        apps.get_model("catalogue", "FileReport").objects.create(file_id=file.pk, reason=reason, reported_at=now)
    for number, made_for in enumerate((old_text("staff"), old_text("another device"), "Firefox · Linux", "")):
        apps.get_model("grants", "GrantToken").objects.create(
            grant_id=grant.pk, digest=bytes([number]) * 32, made_for=made_for, made_at=now
        )
    answers = [old_text("no answer within %(seconds)g s", seconds=10.0), "thank you", "[1]"]
    for number, answer in enumerate(answers):
        event = apps.get_model("webhooks", "Event").objects.create(
            public_id=f"evt_{number}", shop_id=shop.pk, kind="grant.issued", grant="g", made_at=now, body="{}"
        )
        apps.get_model("webhooks", "Delivery").objects.create(
            event_id=event.pk, endpoint_id=endpoint.pk, next_at=now, give_up_at=now, answer=answer
        )

    migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())
    notes = {job.folder: list(map(str, job.texts)) for job in ImportJob.objects.all()}
    assert notes == {
        "refused": ["'Соль' is no folder"],
        "joined": [
            "the tags of '1.ogg' cannot be read; imported without",
            "left out: Thumbs.db (left by a desktop system), x\N{REPLACEMENT CHARACTER} (hidden, and no audio)",
        ],
        "plain": ["as it was stored long ago"],
        "unknown": ["of a strange version"],
        "broken": ["["],
        "nothing": [],
    }
    reports = FileReport.objects.order_by("file__position")
    assert [str(report.reason) for report in reports] == ["cannot be read (Permission denied)", "is gone", "has changed"]
    assert [report.reason_code for report in reports] == ["file_unreadable", "plain", "file_changed"]
    with translation.override("en"):
        tokens = [token.shown_made_for for token in GrantToken.objects.order_by("pk")][-4:]
        answers = [found.shown_answer for found in Delivery.objects.order_by("pk")][-3:]
    assert tokens == ["staff", "another device", "Firefox · Linux", ""]
    assert answers == ["no answer within 10 s", "thank you", "[1]"]
    with translation.override("ru"):
        job = ImportJob.objects.get(folder="joined")
        assert translated(job.texts[1]).startswith("не добавлено: Thumbs.db (оставлено")
        assert GrantToken.objects.filter(made_for_code="device").get().shown_made_for == "другое устройство"

    migrate(*before)
    old = {job.folder: job.message for job in apps.get_model("catalogue", "ImportJob").objects.all()}
    assert old["refused"] == "'Соль' is no folder"
    assert set(apps.get_model("grants", "GrantToken").objects.values_list("made_for", flat=True)) >= {"staff", "another device"}
    migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())


@pytest.mark.django_db
def test_existing_databases_are_those_of_the_models() -> None:
    names = {(label, model) for label, models in MODELS.items() for model in models}
    tables = {f"{label}_{model}" for label, model in names}
    assert tables <= set(connection.introspection.table_names())
    assert tables <= {model._meta.db_table for model in installed.get_models()}
    assert names <= set(ContentType.objects.values_list("app_label", "model"))
    rights = {(label, f"{verb}_{model}") for label, model in names for verb in ("add", "change", "delete", "view")}
    assert rights <= set(Permission.objects.values_list("content_type__app_label", "codename"))


@pytest.mark.django_db
def test_existing_databases_have_nothing_to_apply() -> None:
    executor = MigrationExecutor(connection)
    for label, recorded in MIGRATIONS.items():
        there = sorted(name for app, name in executor.loader.disk_migrations if app == label)
        assert there[: len(recorded)] == list(recorded)
        assert {(label, name) for name in recorded} <= set(executor.loader.applied_migrations)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)  # exits where models and migrations differ


@pytest.mark.django_db(transaction=True)
def test_gates_of_earlier_versions_do_not_count_and_may_still_enter_themselves() -> None:
    try:
        before = ("grants", "0005_exchange")
        earlier = migrate(before).loader.project_state([before]).apps
        old, now = earlier.get_model("grants", "Gate"), timezone.now()
        row = {"host": "h", "pid": 1, "started_at": now, "ftp": "h:1", "http": "h:2", "admin": "h:3"}
        old.objects.create(public_id="stopped", stopped_at=now, **row)
        old.objects.create(public_id="dead", **row)
        migrate(("grants", "0006_gate_membership"))
        old.objects.create(public_id="older code", **row)  # it knows none of the new columns
    finally:
        call_command("migrate", verbosity=0)
    states = dict(Gate.objects.values_list("public_id", "state"))
    assert states == {"stopped": "stopped", "dead": "running", "older code": "running"}
    assert Gate.objects.get(public_id="older code").advertised == {}
    assert running_gates() == []
