from django.urls import path

from webportal.staff.dashboard import imports, views
from webportal.staff.sign_in import StaffSignIn

urlpatterns = [
    path("admin/login/", StaffSignIn.as_view(), name="staff-sign-in"),  # found before the admin's own
    path("staff/", views.dashboard, name="dashboard"),
    path("staff/import/", imports.imports, name="imports"),
    path("staff/purge/", views.purge_list, name="purge-list"),
]
