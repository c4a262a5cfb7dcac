from django.db import migrations, models

import webportal.webhooks.models

_TYPES = ("grant.issued", "item.complete", "grant.complete", "grant.expired")
_LABELS = ("grant issued", "item complete", "grant complete", "grant expired")


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0002_failure_codes")]

    operations = [
        migrations.RemoveConstraint("event", "event_kind_known"),
        migrations.RenameField("event", "kind", "type"),
        migrations.AlterField(
            "event", "type", models.CharField(choices=list(zip(_TYPES, _LABELS, strict=True)), max_length=20, verbose_name="type")
        ),
        migrations.AddConstraint("event", models.CheckConstraint(condition=models.Q(type__in=_TYPES), name="event_type_known")),
        migrations.RenameField("endpoint", "kinds", "event_types"),
        migrations.AlterField(
            "endpoint",
            "event_types",
            models.JSONField(validators=[webportal.webhooks.models.validate_event_types], verbose_name="hears of"),
        ),
        migrations.RenameField("endpoint", "resting_until", "backoff_until"),
        migrations.AlterField(
            "endpoint",
            "backoff_until",
            models.DateTimeField(editable=False, null=True, verbose_name="left alone until"),
        ),
        migrations.AlterField(
            "endpoint",
            "active",
            models.BooleanField(
                default=True, help_text="Events that occur while inactive are not sent.", verbose_name="active"
            ),
        ),
    ]
