"""Tokens whose grant the gate holds already: their use is seen all the same."""

from __future__ import annotations

from pathlib import Path

from tests.support import clients
from tests.support.site import Site
from tests.support.waiting import wait_until


def test_a_token_in_use_is_not_the_longest_unused(site: Site, tmp_path: Path) -> None:
    """It was looked up once, long ago, and has let clients in ever since: five others leave it alive."""
    item = site.album({"track.ogg": 2_000_000})
    site.start()
    grant = site.issue(site.add_user(), item["id"])

    def use(start: int) -> None:
        clients.curl(grant.http_url("Album/track.ogg"), tmp_path / "part", "-r", f"{start}-{start + 99_999}")
        wait_until(
            lambda: site.grant_show(grant)["items"][0]["delivered"] >= start + 100_000, 10, "the credit", interval=0.2, longest=1
        )

    use(0)
    idle = [site.json("grant", "token", grant.id)["token"] for _ in range(4)]
    long_ago = "timezone.now() - datetime.timedelta(days=1)"
    change = f"GrantToken.objects.filter(last_used_at__isnull=False).update(last_used_at={long_ago})"
    imports = "import datetime; from django.utils import timezone; from webportal.grants.models import GrantToken"
    site.run("manage", "shell", "--no-imports", "-c", f"{imports}; {change}")
    use(100_000)
    site.json("grant", "token", grant.id)
    use(200_000)
    link = grant.links["http"].replace(grant.token, idle[0])

    def answer() -> str:
        return clients.run("curl", ["-q", "-s", "-w", "%{http_code}", "-o", "/dev/null", link]).output

    wait_until(lambda: answer() == "410", 5, "the end of the one that was never used", interval=0.2)
