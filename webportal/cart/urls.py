from django.urls import path

from webportal.cart import views

urlpatterns = [
    path("cart/", views.cart, name="cart"),
    path("cart/add/<slug:item_id>", views.add, name="cart-add"),
    path("cart/remove/<slug:item_id>", views.remove, name="cart-remove"),
    path("cart/check-out", views.check_out, name="check-out"),
]
