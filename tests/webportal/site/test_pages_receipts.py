"""Receipts of deliveries, on a page and as a signed file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission

from ftpgate.cli import run
from ftpgate.grants import Batch, TransferRecord
from ftpgate.receipts import ReceiptError, public_text, verify
from tests.webportal.shop import make_grant, make_item, make_user, whole
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.bridge import make_bridge
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.grants.models import Grant
from webportal.history.receipts import receipt_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def item() -> Item:
    return make_item(1_000, 2_000_000, title="Salt <1>")


@pytest.fixture
def grant(alice: User, item: Item) -> Grant:
    grant, _ = make_grant(alice, item)
    now = time.time()
    record = TransferRecord(
        grant.public_id, item.public_id, "/Salt/01.ogg", "ftp", "192.0.2.9", "lftp/4.9", 0, 1_000, 1_000, now - 5, now - 1, "done"
    )
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item), transfers=(record,)))
    return grant


def address(grant: Grant, item: Item) -> str:
    return f"/history/{grant.public_id}/{item.public_id}/"


def test_the_signed_file_tells_of_the_delivery_and_verifies(alice: User, grant: Grant, item: Item) -> None:
    answer = visitor(alice).get(address(grant, item) + "receipt.json")
    assert answer["Content-Disposition"] == f'attachment; filename="receipt-{grant.public_id}-{item.public_id}.json"'
    receipt = verify(answer.content, receipt_key().public_key())
    assert (receipt["grant"], receipt["user"]["name"], receipt["item"]["title"]) == (grant.public_id, "alice", "Salt <1>")
    assert [file["covered"] for file in receipt["files"]] == [[[0, 1_000]], [[0, 2_000_000]]]
    assert [file["sha256"] for file in receipt["files"]] == [bytes(file.sha256).hex() for file in item.files.order_by("position")]
    assert (receipt["protocols"], receipt["addresses"], receipt["clients"]) == (["ftp"], ["192.0.2.9"], ["lftp/4.9"])
    assert receipt["transfers_in_all"] == len(receipt["transfers"]) == 1


def test_the_command_checks_it_offline(
    alice: User, grant: Grant, item: Item, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTPGATE_STATE_DIR", str(tmp_path / "nothing"))
    file = tmp_path / "receipt.json"
    file.write_bytes(visitor(alice).get(address(grant, item) + "receipt.json").content)
    key = public_text(receipt_key().public_key())
    assert run(["receipt", "verify", str(file), "--key", key]) == 0
    assert "the receipt is good" in capsys.readouterr().out
    assert run(["receipt", "verify", str(file), "--key", key, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["receipt"]["grant"] == grant.public_id
    assert run(["receipt", "verify", str(file)]) == 1
    assert "give it with --key" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists(), "looking makes no keys"
    file.write_bytes(file.read_bytes().replace(b"alice", b"alicf"))
    assert run(["receipt", "verify", str(file), "--key", key]) == 1
    assert "was changed" in capsys.readouterr().err
    assert run(["receipt", "verify", str(tmp_path / "none"), "--key", key]) == 1


def test_a_receipt_with_any_byte_changed_is_none(alice: User, grant: Grant, item: Item) -> None:
    file = visitor(alice).get(address(grant, item) + "receipt.json").content
    key = receipt_key().public_key()
    assert verify(file, key)
    for at in range(len(file)):
        for byte in {file[at] ^ 1, file[at] ^ 0x20, ord(" ")} - {file[at]}:
            with pytest.raises(ReceiptError):
                verify(file[:at] + bytes([byte]) + file[at + 1 :], key)
        with pytest.raises(ReceiptError):
            verify(file[:at] + file[at + 1 :], key)


def test_the_page_shows_the_same_to_read_and_print(alice: User, grant: Grant, item: Item) -> None:
    page = text(visitor(alice).get(address(grant, item)))
    for shown in (
        "Salt &lt;1&gt;",
        "alice",
        "192.0.2.9",
        "lftp/4.9",
        bytes(item.files.all()[0].sha256).hex(),
        "2.00\N{NO-BREAK SPACE}MB",
    ):
        assert shown in page
    assert public_text(receipt_key().public_key()) in page
    assert address(grant, item) in text(visitor(alice).get("/history/"))


def test_a_receipt_is_its_owners_and_staffs(alice: User, grant: Grant, item: Item) -> None:
    bob, staff = make_user("bob"), make_user("staff")
    staff.user_permissions.add(Permission.objects.get(codename="view_completion"))
    for path in ("", "receipt.json"):
        assert visitor(bob).get(address(grant, item) + path).status_code == 404
        assert visitor(staff).get(address(grant, item) + path).status_code == 200


def test_what_has_not_arrived_has_no_receipt(alice: User, item: Item) -> None:
    grant, _ = make_grant(alice, item)
    assert visitor(alice).get(address(grant, item)).status_code == 404


def test_a_receipt_of_another_installation_does_not_verify(alice: User, grant: Grant, item: Item, settings: object) -> None:
    file = visitor(alice).get(address(grant, item) + "receipt.json").content
    settings.FTPGATE_SECRET = "another"  # type: ignore[attr-defined]
    with pytest.raises(ReceiptError, match="another key"):
        verify(file, receipt_key().public_key())
