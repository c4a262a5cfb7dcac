from django.contrib.auth.views import LogoutView
from django.urls import path

from webportal.accounts import views

urlpatterns = [
    path("sign-in/", views.SignIn.as_view(), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("account/", views.account, name="account"),
    path("account/password/", views.change_password, name="password"),
    path("account/sign-ins/<int:key>/end", views.end_sign_in, name="end-sign-in"),
    path("account/downloads/end", views.end_download, name="end-download"),
    path("language/", views.change_language, name="set_language"),
]
