"""Where links lead: with one gate as the settings say, with several to the customer's first."""

from __future__ import annotations

from datetime import timedelta
from socket import gethostname

import pytest
from django.db.models import F
from django.utils import timezone

from ftpgate.tokens import Token, new_grant_id
from tests.webportal.shop import make_grant, make_item, make_user
from webportal.grants.documents import gate_document
from webportal.grants.models import Gate
from webportal.grants.places import links, watching
from webportal.grants.selectors import running_gates

pytestmark = pytest.mark.django_db
TOKEN = Token.new(new_grant_id())
CUSTOMERS = [f"customer{number}" for number in range(40)]


def enter(name: str, at: str = "10.0.0.1", **fields: object) -> None:
    now = timezone.now()
    row = {"host": gethostname(), "pid": 1, "ftp": f"{at}:21", "http": f"{at}:80", "admin": f"{at}:9121"}
    Gate.objects.create(public_id=name, started_at=now, heartbeat_at=now, **(row | fields))


def hosts() -> set[str]:
    """To which hosts the links of many customers lead."""
    found = set()
    for customer in CUSTOMERS:
        made = links(TOKEN, customer)
        host = made.http.split("/")[2].partition(":")[0]
        assert f"@{host}:" in made.ftp
        assert made.metalink.startswith(made.http)
        found.add(host)
    return found


def test_with_one_gate_links_are_as_the_settings_say() -> None:
    before = links(TOKEN, "anna")
    enter("a", "0.0.0.0")
    assert links(TOKEN, "anna") == before


def test_what_the_only_gate_advertises_is_in_links() -> None:
    enter("a", "0.0.0.0", advertised={"http": "g.example.org:8080"})
    made = links(TOKEN, "anna")
    assert made.http.startswith("http://g.example.org:8080/d/")
    assert made.ftp.endswith(links(TOKEN, "berta").ftp.rpartition("@")[2])


def test_customers_are_spread_over_the_gates_that_run() -> None:
    enter("a", "10.0.0.1")
    enter("b", "10.0.0.2")
    enter("c", "0.0.0.0", advertised={"ftp": "c.example.org:21", "http": "c.example.org:80"})
    assert hosts() == {"10.0.0.1", "10.0.0.2", "c.example.org"}
    assert links(TOKEN, "anna") == links(TOKEN, "anna")


def test_a_gate_that_drains_stops_or_is_gone_leaves_new_links_and_its_customers_only_move() -> None:
    for number in range(1, 6):
        enter(str(number), f"10.0.0.{number}")
    before = {customer: links(TOKEN, customer).http for customer in CUSTOMERS}
    Gate.objects.filter(public_id="1").update(state="draining")
    Gate.objects.filter(public_id="2").update(stopped_at=timezone.now(), state="stopped")
    Gate.objects.filter(public_id="3").update(heartbeat_at=F("heartbeat_at") - timedelta(seconds=16))
    assert hosts() == {"10.0.0.4", "10.0.0.5"}
    stay = [customer for customer in CUSTOMERS if "10.0.0.4" in before[customer] or "10.0.0.5" in before[customer]]
    assert stay
    assert all(links(TOKEN, customer).http == before[customer] for customer in stay)


def test_a_busy_gate_gets_no_new_links_while_others_are_not() -> None:
    enter("a", "10.0.0.1", busy=True)
    enter("b", "10.0.0.2")
    assert hosts() == {"10.0.0.2"}


def test_gates_that_share_their_addresses_are_one_place() -> None:
    enter("a", "0.0.0.0")
    before = links(TOKEN, "anna")
    enter("b", "0.0.0.0")
    assert links(TOKEN, "anna") == before


def test_progress_is_watched_at_the_gate_of_the_links_and_a_page_may_go_on_at_the_others() -> None:
    enter("a", "10.0.0.1")
    enter("b", "10.0.0.2")
    user = make_user("anna")
    grant, token = make_grant(user, make_item(10))
    found = watching([grant])
    assert found.addresses[grant.public_id].startswith(links(token, "anna").http.partition("/d/")[0])
    assert found.origins == {"http://10.0.0.1:80", "http://10.0.0.2:80"}


@pytest.mark.parametrize(
    ("fields", "admin"),
    [
        ({"admin": "0.0.0.0:9121"}, "127.0.0.1:9121"),
        ({"admin": "0.0.0.0:9121", "host": "there"}, "there:9121"),
        ({"admin": "127.0.0.1:9121", "host": "there"}, ""),
        ({"admin": "127.0.0.1:9121", "host": "there", "advertised": {"admin": "10.0.0.9:9121"}}, "10.0.0.9:9121"),
        ({"admin": "127.0.0.1:9121"}, "127.0.0.1:9121"),
    ],
)
def test_a_gate_is_asked_where_this_machine_reaches_it(fields: dict[str, object], admin: str) -> None:
    enter("a", **fields)  # type: ignore[arg-type]
    (gate,) = running_gates()
    assert gate_document(gate)["admin"] == admin
