from django.db import migrations, models
from django.db.models import Q

_ON_OFFER = Q(withdrawn_at=None, hidden_at=None)
_ORDERS = {
    "item_order": ("artist", "year", "title", "id"),
    "item_by_title": ("title", "artist", "id"),
    "item_newest": ("-added_at", "-id"),
    "item_by_year": ("-year", "artist", "title", "id"),
}


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0005_texts_as_codes")]

    operations = [
        migrations.AddField(
            "item",
            "hidden_at",
            models.DateTimeField(blank=True, editable=False, null=True, verbose_name="off the shelf since"),
        ),
        *(migrations.RemoveIndex("item", name) for name in _ORDERS),
        *(
            migrations.AddIndex("item", models.Index(fields=fields, condition=_ON_OFFER, name=name))
            for name, fields in _ORDERS.items()
        ),
    ]
