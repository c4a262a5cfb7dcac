from __future__ import annotations

from django.contrib import admin

from webportal.mails.models import Notice
from webportal.staff.admin.base import Watched


@admin.register(Notice)
class NoticeAdmin(Watched):
    list_display = ("user", "completion", "grant", "made_at", "sent_at", "attempts")
    list_filter = ("made_at",)
    list_select_related = ("user", "completion__grant_item__item", "grant")
    search_fields = ("user__username", "user__email")
