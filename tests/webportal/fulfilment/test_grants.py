"""Carts, check-out, and the life of grants and their tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.utils import timezone

from ftpgate.tokens import Token
from tests.support.at_once import at_once
from tests.webportal.shop import let_expire, make_grant, make_item, make_user
from webportal.accounts.models import Tier, User
from webportal.accounts.services import add_user, set_tier
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.catalogue.search import search
from webportal.core.errors import AccountError, GrantError
from webportal.fulfilment import services
from webportal.fulfilment.checkout import add_to_cart, check_out, remove_from_cart
from webportal.grants import selectors
from webportal.grants.models import Grant, GrantToken
from webportal.grants.states import NEXT_STATES, State
from webportal.history.models import Completion
from webportal.site.remembered import remember_token, remembered_token

pytestmark = pytest.mark.django_db


def live(grant: Grant) -> set[bytes]:
    return {bytes(digest) for digest in GrantToken.objects.filter(grant=grant, dead_at=None).values_list("digest", flat=True)}


def later(days: int = 7) -> object:
    return timezone.now() + timedelta(days=days)


# ------------------------------------------------------------------------------------------ users and tiers


def test_the_default_tier_is_there_and_taken() -> None:
    tier = add_user("anna").tier
    assert (tier.name, tier.rate, tier.connections) == ("default", 0, 64)
    assert User.objects.create_superuser("root").tier == tier


def test_a_tier_is_made_then_changed() -> None:
    assert set_tier("slow", rate=512_000).connections == 64
    assert set_tier("slow", rate=1, connections=3).connections == 3
    changed = set_tier("slow", rate=2)
    assert (changed.rate, changed.connections) == (2, 3)
    assert Tier.objects.filter(name="slow").count() == 1


@pytest.mark.parametrize(
    ("name", "rate", "connections"), [("", 1, 1), ("x" * 65, 1, 1), ("x", -1, 1), ("x", 1, 0), ("x", 1 << 63, 1)]
)
def test_a_bad_tier_is_refused(name: str, rate: int, connections: int) -> None:
    with pytest.raises(AccountError):
        set_tier(name, rate=rate, connections=connections)


def test_a_user_is_refused_in_plain_words() -> None:
    add_user("anna", password="a b c")
    assert User.objects.get().check_password("a b c")
    for name, tier in (("anna", "default"), ("no spaces", "default"), ("", "default"), ("boris", "gold")):
        with pytest.raises(AccountError):
            add_user(name, tier=tier)
    assert not add_user("boris").has_usable_password()


@pytest.mark.parametrize(
    "change", [{"rate": -1}, {"connections": 0}, {"connections": 10_001}, {"name": ""}], ids=lambda change: str(change)
)
def test_the_database_itself_refuses_a_bad_tier(change: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Tier.objects.filter(name="default").update(**change)


# ------------------------------------------------------------------------------------------ catalogue


def test_search_ignores_case_and_yo() -> None:
    tree, other = make_item(1, title="Зелёная Ёлка"), make_item(1, title="Stone 100%")
    for query, found in (
        ("зеленая", [tree]),
        ("ЁЛК зел", [tree]),
        ("елка stone", []),
        ("100%", [other]),
        ("%", []),
        ("", [tree, other]),
    ):
        assert sorted(search(query)[:9], key=lambda item: item.pk) == found, query


# ------------------------------------------------------------------------------------------ cart and check-out


def test_the_cart_holds_an_item_once() -> None:
    user, item = make_user(), make_item(1)
    assert add_to_cart(user, item)
    assert not add_to_cart(user, item)
    assert remove_from_cart(user, item)
    assert not remove_from_cart(user, item)


def test_an_empty_cart_cannot_be_checked_out() -> None:
    with pytest.raises(GrantError, match="empty"):
        check_out(make_user())


def test_checking_out_again_shows_the_same_grant() -> None:
    user, first, second = make_user(), make_item(1), make_item(1)
    add_to_cart(user, first)
    add_to_cart(user, second)
    made = check_out(user)
    assert made.token is not None
    assert list(made.grant.grant_items.order_by("position").values_list("item", flat=True)) == [first.pk, second.pk]
    assert CartItem.objects.count() == 2  # until they have arrived
    again = check_out(user)
    assert again == (made.grant, None)
    remove_from_cart(user, second)
    assert check_out(user) == (made.grant, None)


def test_only_what_no_open_grant_serves_is_granted_anew() -> None:
    user, first, second = make_user(), make_item(1), make_item(1)
    add_to_cart(user, first)
    before = check_out(user).grant
    add_to_cart(user, second)
    grant = check_out(user).grant
    assert grant != before
    assert [entry.item for entry in grant.grant_items.all()] == [second]
    let_expire(before)
    assert [entry.item for entry in check_out(user).grant.grant_items.all()] == [first]


def test_anothers_grant_or_a_revoked_one_serves_no_cart() -> None:
    anna, boris, item = make_user(), make_user(), make_item(1)
    make_grant(boris, item)
    services.revoke_grant(make_grant(anna, item)[0])
    add_to_cart(anna, item)
    assert check_out(anna).token is not None


@pytest.mark.django_db(transaction=True)
def test_a_double_click_makes_one_grant() -> None:
    user = make_user()
    add_to_cart(user, make_item(1))
    made = at_once(lambda _: check_out(user))
    grant = Grant.objects.get()
    assert [checkout.grant for checkout in made] == [grant] * 4


# ------------------------------------------------------------------------------------------ grants


def test_a_grant_needs_items_with_files_and_a_future() -> None:
    user, item, bare = make_user(), make_item(1), make_item()
    for items, days in (((), 1), ((bare,), 1), ((item,), -1)):
        with pytest.raises(GrantError):
            make_grant(user, *items, days=days)
    assert not Grant.objects.exists()
    grant, _ = make_grant(user, item, item)
    assert grant.grant_items.count() == 1


def test_the_states_that_follow_each_other() -> None:
    user, item = make_user(), make_item(1)
    grant, token = make_grant(user, item)
    let_expire(grant)
    grant.refresh_from_db()
    assert grant.present_state is State.EXPIRED
    assert list(Grant.objects.in_state(State.EXPIRED)) == [grant]
    assert not Grant.objects.in_state(State.OPEN)
    with pytest.raises(GrantError, match="expired"):
        services.revoke_grant(grant)
    with pytest.raises(GrantError, match="expired"):
        services.add_token(grant)
    renewed = services.renew_grant(grant, expires_at=later())  # type: ignore[arg-type]
    assert renewed.present_state is State.OPEN
    assert live(grant) == {token.digest()}
    assert services.revoke_grant(grant).present_state is State.REVOKED
    assert services.revoke_grant(grant).present_state is State.REVOKED
    for refused in (
        lambda: services.renew_grant(grant, expires_at=later()),  # type: ignore[arg-type]
        lambda: services.add_token(grant),
        lambda: services.replace_tokens(grant),
    ):  # type: ignore[arg-type]
        with pytest.raises(GrantError, match="revoked"):
            refused()
    assert {state for state, following in NEXT_STATES.items() if not following} == {State.COMPLETE, State.REVOKED}


def test_an_open_grant_can_be_given_more_time() -> None:
    grant, _ = make_grant(make_user(), make_item(1))
    until = timezone.now() + timedelta(days=30)
    assert services.renew_grant(grant, expires_at=until).expires_at == until
    with pytest.raises(GrantError, match="passed"):
        services.renew_grant(grant, expires_at=timezone.now())


def test_what_was_delivered_is_issued_anew_not_renewed() -> None:
    user, item = make_user(), make_item(1)
    complete, _ = make_grant(user, make_item(0))
    with pytest.raises(GrantError, match="delivered"):
        services.renew_grant(complete, expires_at=later())  # type: ignore[arg-type]
    with pytest.raises(GrantError, match="complete"):
        services.revoke_grant(complete)
    expired, _ = make_grant(user, item)
    Completion.objects.create(grant_item=expired.grant_items.get(), completed_at=timezone.now())
    let_expire(expired)
    with pytest.raises(GrantError, match="delivered"):
        services.renew_grant(expired, expires_at=later())  # type: ignore[arg-type]
    assert make_grant(user, item)[0].present_state is State.OPEN


def test_expiry_is_written_down_where_it_holds() -> None:
    user, item = make_user(), make_item(1)
    let_expire(make_grant(user, item)[0])
    make_grant(user, item)
    assert services.write_down_expired() == 1
    assert services.write_down_expired() == 0
    assert Grant.objects.filter(state=State.EXPIRED).count() == 1


@pytest.mark.parametrize(
    "change",
    [{"state": "lost"}, {"state": "complete"}, {"completed_at": "2026-01-01T00:00Z"}, {"expires_at": "2020-01-01T00:00Z"}],
    ids=lambda change: str(change),
)
def test_the_database_itself_refuses_an_impossible_grant(change: dict[str, object]) -> None:
    grant, _ = make_grant(make_user(), make_item(1))
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.filter(pk=grant.pk).update(**change)


def test_a_completion_is_once_in_the_database_itself() -> None:
    grant, _ = make_grant(make_user(), make_item(0))
    with pytest.raises(IntegrityError), transaction.atomic():
        Completion.objects.create(grant_item=grant.grant_items.get(), completed_at=timezone.now())


# ------------------------------------------------------------------------------------------ tokens


def test_only_hashes_of_tokens_are_stored() -> None:
    grant, token = make_grant(make_user(), make_item(1))
    row = GrantToken.objects.get()
    assert bytes(row.digest) == token.digest()
    assert token.secret not in repr([str(value) for value in vars(row).values()])
    assert token.secret not in f"{token} {token!r} {grant} {row}"


def test_of_five_tokens_the_longest_unused_gives_way() -> None:
    grant, first = make_grant(make_user(), make_item(1))
    tokens = [first, *(services.add_token(grant, made_for=str(number)) for number in range(4))]
    assert live(grant) == {token.digest() for token in tokens}
    GrantToken.objects.filter(digest=first.digest()).update(last_used_at=timezone.now() + timedelta(minutes=1))
    sixth = services.add_token(grant)
    assert live(grant) == {token.digest() for token in (first, *tokens[2:], sixth)}
    assert GrantToken.objects.count() == 6  # the dead are kept


def test_replacing_kills_all_others() -> None:
    grant, _ = make_grant(make_user(), make_item(1))
    services.add_token(grant)
    token = services.replace_tokens(grant)
    assert live(grant) == {token.digest()}
    assert GrantToken.objects.count() == 3


def test_a_complete_grant_still_gives_tokens_for_its_grace() -> None:
    grant, _ = make_grant(make_user(), make_item(0))
    assert isinstance(services.add_token(grant), Token)
    assert grant.completed_at is not None
    Grant.objects.filter(pk=grant.pk).update(completed_at=grant.completed_at - timedelta(seconds=settings.FTPGATE.grace))
    for make in (services.add_token, services.replace_tokens):
        with pytest.raises(GrantError, match=r"is complete, a token would open nothing"):
            make(grant)


def test_a_browser_session_remembers_its_tokens_encrypted() -> None:
    grant, token = make_grant(make_user(), make_item(1))
    session, other = SessionStore(), SessionStore()
    assert remembered_token(session, grant) is None
    remember_token(session, token)
    session.save()
    stored = Session.objects.get()
    assert token.secret not in stored.session_data + str(stored.get_decoded())
    again = SessionStore(session_key=session.session_key)
    assert remembered_token(again, grant) == token
    assert remembered_token(other, grant) is None
    services.replace_tokens(grant)
    assert remembered_token(again, grant) is None


# ------------------------------------------------------------------------------------------ what pages and commands ask


def test_details_name_everything_as_the_gate_does() -> None:
    user, first, second = make_user(), make_item(10, 0, title="Same"), make_item(5, title="same")
    grant, _ = make_grant(user, first, second)
    details = selectors.details(grant)
    assert [item.folder for item in details] == ["Same", "same (2)"]
    assert [(item.size, item.delivered, item.completed_at) for item in details] == [(10, 0, None), (5, 0, None)]
    assert [file.path for file in details[0].files] == ["01.ogg", "02.ogg"]
    assert selectors.progress([grant]) == {grant.public_id: selectors.Progress(size=15, delivered=0, items=2, complete=0)}


def test_another_users_grant_is_not_found() -> None:
    grant, _ = make_grant(make_user(), make_item(1))
    with pytest.raises(Grant.DoesNotExist):
        selectors.grant_of(make_user(), grant.public_id)


def test_an_item_that_was_granted_cannot_be_deleted() -> None:
    item = make_item(1)
    make_grant(make_user(), item)
    with pytest.raises(IntegrityError), transaction.atomic():
        Item.objects.filter(pk=item.pk).delete()
