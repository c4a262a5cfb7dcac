"""The admin of every app: Django imports `admin` of this app, and each module registers its classes."""

from webportal.staff.admin import accounts, catalogue, grants, history, mails, shops, webhooks

__all__ = ["accounts", "catalogue", "grants", "history", "mails", "shops", "webhooks"]
