"""`ftpgate manage webhooks`, a worker in a process of its own: killed while it sends, and ended in order."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.site import Site
from tests.support.waiting import wait_until
from tests.webportal.webhooks.receiver import Receiver


@contextmanager
def worker(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    with (site.root / "webhooks.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ftpgate", "manage", "webhooks"], env=site.environ, cwd=site.root, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_what_a_killed_worker_was_sending_the_next_one_sends_at_once(site: Site) -> None:
    item = site.album({"01.ogg": 1_000})
    with Receiver() as receiver:
        site.run("manage", "api_key", "acme", "--scope", "grants:write")
        site.run("manage", "webhook_endpoint", "acme", receiver.url, "--allow-internal")
        code = "from webportal.shops import models, services; print(services.shop_user(models.Shop.objects.get(), 'customer-17'))"
        customer = site.run("manage", "shell", "--no-imports", "-c", code).stdout.strip()
        site.issue(customer, item["id"])  # a command of its own, which knows nothing of sending
        receiver.behave = receiver.hang
        with worker(site) as first:
            wait_until(lambda: receiver.calls, 30, "the first attempt")
            first.kill()
        receiver.behave = lambda handler: handler.answer(200)
        with worker(site) as second:
            wait_until(lambda: len(receiver.calls) == 2, 30, "the second attempt")  # the lease would have lasted a minute
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
        first_call, second_call = receiver.calls
        assert (first_call.event, first_call.body) == (second_call.event, second_call.body)
        assert first_call.document["data"]["user"] == "customer-17"
    assert "Traceback" not in (site.root / "webhooks.log").read_text()
