"""Importing folders from the browser."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.http import require_http_methods

from webportal.catalogue.models import ImportJob
from webportal.core.errors import ImportRefused
from webportal.jobs.imports import MOST_FOLDERS, end_dead_jobs, folders_to_import, start_import
from webportal.site.requests import CustomerRequest, not_stored
from webportal.staff.hints import for_staff

JOBS_SHOWN = 20
"""Newest first."""


@require_http_methods(["GET", "POST"])
def imports(request: CustomerRequest) -> HttpResponse:
    if not (request.user.is_staff and request.user.has_perm("catalogue.add_item")):
        raise PermissionDenied
    if request.method == "POST":
        try:
            with transaction.atomic():
                job = start_import(request.POST.get("folder", "").strip().strip("/"), request.user)
                LogEntry.objects.log_actions(request.user.pk, [job], ADDITION, gettext_noop("imported"), single_object=True)
        except ImportRefused as error:
            messages.error(request, _("It cannot be imported: %(reason)s") % {"reason": for_staff(error.text)})
        return redirect("imports")
    end_dead_jobs()
    jobs = ImportJob.objects.select_related("item", "user")[:JOBS_SHOWN]
    running = {job.folder for job in jobs if job.state == ImportJob.State.RUNNING}
    folders = [folder for folder in folders_to_import() if folder not in running]
    shown = [(job, "; ".join(map(for_staff, job.texts))) for job in jobs]
    context = {"jobs": shown, "running": running, "folders": folders, "most_folders": MOST_FOLDERS}
    return not_stored(render(request, "staff/imports.html", context))
