from django.urls import path

from webportal.staff.dashboard import imports, views

urlpatterns = [
    path("staff/", views.dashboard, name="dashboard"),
    path("staff/import/", imports.imports, name="imports"),
    path("staff/purge/", views.purge_list, name="purge-list"),
]
