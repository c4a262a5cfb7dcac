"""Mails to those who are locked out by wrong passwords for their name."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext

from webportal.accounts import unlocking
from webportal.accounts.models import User
from webportal.accounts.unlocking import Asked, make_link
from webportal.core.addresses import portal_address

_log = logging.getLogger(__name__)


def send_unlocks() -> int:
    """Send what was asked for to those who exist and have an address; returns how many mails went out."""
    sent = 0
    while (asked := unlocking.requests.take()) is not None:
        user = User.objects.filter(username=User.normalize_username(asked.name), is_active=True).exclude(email="").first()
        if user is None:
            continue
        try:
            _message(user, asked).send()
        except OSError as error:  # what smtplib raises is an OSError too
            _log.warning("a mail for signing in again could not be sent: %s", error)
            continue
        sent += 1
    return sent


def _message(user: User, asked: Asked) -> EmailMessage:
    with translation.override(user.language or settings.LANGUAGE_CODE):
        link = portal_address(reverse("unlock-link", args=(make_link(user),)))
        body = render_to_string("mails/unlock.txt", {"user": user, "address": asked.address, "link": link})
        subject = gettext("Signing in again")
    return EmailMessage(subject, body, to=[user.email], headers={"Auto-Submitted": "auto-generated"})
