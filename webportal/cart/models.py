from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from webportal.catalogue.models import Item


class CartItem(models.Model):
    """An item that a user has chosen and has not yet received. The cart is all of a user's."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="cart_items", verbose_name=_("user"))
    item = models.ForeignKey(Item, models.CASCADE, related_name="cart_items", verbose_name=_("item"))
    added_at = models.DateTimeField(_("added"), auto_now_add=True)

    class Meta:
        verbose_name = _("cart item")
        verbose_name_plural = _("cart items")
        ordering = ("added_at", "pk")
        constraints = (models.UniqueConstraint(fields=("user", "item"), name="cart_item_once_a_user"),)

    def __str__(self) -> str:
        return str(self.item)
