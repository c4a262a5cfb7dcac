from django.urls import path

from webportal.grants import views

urlpatterns = [
    path("downloads/", views.downloads, name="downloads"),
    path("downloads/<slug:grant_id>/", views.grant_page, name="grant"),
    path("downloads/<slug:grant_id>/state", views.grant_state, name="grant-state"),
    path("downloads/<slug:grant_id>/links", views.make_links, name="make-links"),
    path("downloads/<slug:grant_id>/replace", views.replace_links, name="replace-links"),
    path("downloads/<slug:grant_id>/device", views.another_device, name="another-device"),
    path("downloads/<slug:grant_id>/<slug:item_id>/received", views.received, name="received"),
    path("downloads/<slug:grant_id>/again", views.cart_again, name="cart-again"),
]
