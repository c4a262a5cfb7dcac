from __future__ import annotations

from django.conf import settings

from ftpgate.settings import Settings


def portal_address(path: str = "/") -> str:
    """The full address of a page, for mails: there is no request to take it from.

    By `FTPGATE_PORTAL_URL` where it is given. With `FTPGATE_PUBLIC_HOST` alone, that host's usual port, by HTTPS where TLS is
    required; otherwise where the portal listens.
    """
    of: Settings = settings.FTPGATE
    if of.portal_url:
        return of.portal_url + path
    if of.public_host:
        host = f"[{of.public_host}]" if ":" in of.public_host else of.public_host
        return f"{'https' if of.tls == 'require' else 'http'}://{host}{path}"
    return f"http://{of.portal.at_home}{path}"
