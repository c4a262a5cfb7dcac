from django.contrib import admin
from django.urls import include, path

from webportal.api import site

handler400 = site.bad_request
urlpatterns = [
    path("", include("webportal.catalogue.urls")),
    path("", include("webportal.cart.urls")),
    path("", include("webportal.grants.urls")),
    path("", include("webportal.history.urls")),
    path("", include("webportal.accounts.urls")),
    path("", include("webportal.dashboard.urls")),
    path("admin/", admin.site.urls),
    path(site.ROOT.removeprefix("/"), site.urls),
]
