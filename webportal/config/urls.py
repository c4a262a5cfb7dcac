from django.contrib import admin
from django.urls import include, path

from webportal.api import site

handler400 = site.bad_request
urlpatterns = [
    path("", include("webportal.site.urls")),
    path("", include("webportal.staff.urls")),
    path("admin/", admin.site.urls),
    path(site.ROOT.removeprefix("/"), site.urls),
]
