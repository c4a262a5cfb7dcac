"""The HTTP/1.1 front: `listen` and `listen_tls` for customers, `listen_admin` for whoever runs the gate."""

from __future__ import annotations

from ftpgate.delivery.context import DeliveryContext
from ftpgate.http.admin import AdminRoutes, GateRoutes
from ftpgate.http.listener import HttpListener
from ftpgate.http.routes import CustomerRoutes
from ftpgate.http.siblings import Siblings
from ftpgate.net.listening import Endpoint


def listen(gate: DeliveryContext, at: Endpoint) -> HttpListener:
    """Serve customers at `at`. Raises OSError when it cannot be bound."""
    return HttpListener(gate, at, CustomerRoutes(gate))


def listen_tls(gate: DeliveryContext, at: Endpoint) -> HttpListener:
    """Serve customers at `at` over TLS, with the gate's certificate. Raises OSError when it cannot be bound."""
    assert gate.tls is not None
    return HttpListener(gate, at, CustomerRoutes(gate), gate.tls)


def listen_admin(gate: DeliveryContext, at: Endpoint) -> HttpListener:
    """Serve `/status`, `/health` and `/metrics` at `at`. Raises OSError when it cannot be bound."""
    return HttpListener(gate, at, AdminRoutes(gate))


def listen_admin_of_all(gate: DeliveryContext, at: Endpoint, siblings: Siblings) -> HttpListener:
    """The same for all workers of a gate together."""
    return HttpListener(gate, at, GateRoutes(gate, siblings))


def listen_to_siblings(gate: DeliveryContext, at: Endpoint, siblings: Siblings) -> HttpListener:
    """Answer the other workers, for this one alone."""
    number = None if siblings.alone else siblings.number
    return HttpListener(gate, at, AdminRoutes(gate, worker=number, password=siblings.password))
