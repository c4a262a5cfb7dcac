"""The page that shows staff a new secret: in this very answer, kept in no message, session or log."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from webportal.site.requests import not_stored


def shown_once(request: HttpRequest, of: Model, title: str, name: str, secret: str) -> HttpResponse:
    """The secret of a row, under a name, with the way back to the row."""
    opts = of._meta
    context = {
        **admin.site.each_context(request),
        "title": title,
        "opts": opts,
        "name": name,
        "secret": secret,
        "back": reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[of.pk]),
    }
    return not_stored(render(request, "staff/secret.html", context))
