"""Databases of earlier versions, with rows in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps as installed
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from tests.portal.shop import leave_unconfirmed, make_grant, make_item, make_user
from webportal.fulfilment.by_word import complete_by_word
from webportal.grants.models import Grant, GrantItem, Segment
from webportal.grants.selectors import details
from webportal.history.models import Completion, Proof

MODELS = {
    "accounts": ("signin", "tier", "user"),
    "api": ("answer", "apikey", "shop", "shopuser"),
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
def test_completions_rest_on_delivery_and_zones_of_doubt_go() -> None:
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
