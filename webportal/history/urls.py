from django.urls import path

from webportal.history import views

urlpatterns = [
    path("history/", views.history, name="history"),
    path("history/<slug:grant_id>/<slug:item_id>/", views.receipt, name="receipt"),
    path("history/<slug:grant_id>/<slug:item_id>/receipt.json", views.signed_receipt, name="signed-receipt"),
]
