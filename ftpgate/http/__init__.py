"""The HTTP/1.1 front: `listen` and `listen_tls` for customers, `listen_admin` for whoever runs the gate."""

from __future__ import annotations

from ftpgate.delivery.context import DeliveryContext
from ftpgate.http.admin import AdminRoutes
from ftpgate.http.listener import HttpListener
from ftpgate.http.routes import CustomerRoutes
from ftpgate.settings import Address


def listen(gate: DeliveryContext, address: Address) -> HttpListener:
    """Serve customers at `address`. Raises OSError when it cannot be bound."""
    return HttpListener(gate, address, CustomerRoutes(gate))


def listen_tls(gate: DeliveryContext, address: Address) -> HttpListener:
    """Serve customers at `address` over TLS, with the gate's certificate. Raises OSError when it cannot be bound."""
    assert gate.tls is not None
    return HttpListener(gate, address, CustomerRoutes(gate), gate.tls)


def listen_admin(gate: DeliveryContext, address: Address) -> HttpListener:
    """Serve `/status`, `/health` and `/metrics` at `address`. Raises OSError when it cannot be bound."""
    return HttpListener(gate, address, AdminRoutes(gate))
