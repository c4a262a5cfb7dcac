from django.contrib.auth.views import LogoutView
from django.urls import path

from webportal.site.views import accounts, cart, catalogue, grants, history

urlpatterns = [
    path("", catalogue.catalogue, name="catalogue"),
    path("items/<slug:item_id>/", catalogue.item_page, name="item"),
    path("items/<slug:item_id>/cover", catalogue.cover, name="cover"),
    path("items/<slug:item_id>/cover/large", catalogue.cover, {"large": True}, name="large-cover"),
    path("items/<slug:item_id>/listen/<int:position>", catalogue.listen, name="listen"),
    path("cart/", cart.cart, name="cart"),
    path("cart/add/<slug:item_id>", cart.add, name="cart-add"),
    path("cart/remove/<slug:item_id>", cart.remove, name="cart-remove"),
    path("cart/check-out", cart.check_out, name="check-out"),
    path("downloads/", grants.downloads, name="downloads"),
    path("downloads/<slug:grant_id>/", grants.grant_page, name="grant"),
    path("downloads/<slug:grant_id>/state", grants.grant_state, name="grant-state"),
    path("downloads/<slug:grant_id>/links", grants.make_links, name="make-links"),
    path("downloads/<slug:grant_id>/replace", grants.replace_links, name="replace-links"),
    path("downloads/<slug:grant_id>/device", grants.another_device, name="another-device"),
    path("downloads/<slug:grant_id>/<slug:item_id>/received", grants.received, name="received"),
    path("downloads/<slug:grant_id>/again", grants.cart_again, name="cart-again"),
    path("history/", history.history, name="history"),
    path("history/<slug:grant_id>/<slug:item_id>/", history.receipt, name="receipt"),
    path("history/<slug:grant_id>/<slug:item_id>/receipt.json", history.signed_receipt, name="signed-receipt"),
    path("sign-in/", accounts.SignIn.as_view(), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("account/", accounts.account, name="account"),
    path("account/password/", accounts.change_password, name="password"),
    path("account/sign-ins/<int:key>/end", accounts.end_sign_in, name="end-sign-in"),
    path("account/downloads/end", accounts.end_download, name="end-download"),
    path("language/", accounts.change_language, name="set_language"),
]
