"""Databases of earlier versions, with rows in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from tests.portal.shop import leave_unconfirmed, make_grant, make_item, make_user
from webportal.grants.by_word import complete_by_word
from webportal.grants.models import Grant, GrantItem, Segment
from webportal.grants.selectors import details
from webportal.history.models import Completion, Proof


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

    migrate(("grants", "0002_segments"), ("history", "0003_proof"))
    completion = Completion.objects.get()
    assert (completion.proof, completion.completed_at) == (Proof.DELIVERED, done)
    assert "grants_doubt" not in connection.introspection.table_names()
    assert not Segment.objects.exists()
    assert [found.proof for found in details(Grant.objects.get())] == ["delivered", None]
    migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())
    leave_unconfirmed(grant, other, {1: (0, 20)})
    assert complete_by_word(grant, other, user).proof == Proof.CUSTOMER
