from django.urls import path

from webportal.catalogue import views

urlpatterns = [
    path("", views.catalogue, name="catalogue"),
    path("items/<slug:item_id>/", views.item_page, name="item"),
    path("items/<slug:item_id>/cover", views.cover, name="cover"),
    path("items/<slug:item_id>/cover/large", views.cover, {"large": True}, name="large-cover"),
    path("items/<slug:item_id>/listen/<int:position>", views.listen, name="listen"),
]
