from django.db import migrations, models

from webportal.core.old_texts import converted, english


def _convert(apps, _editor):
    Delivery = apps.get_model("webhooks", "Delivery")
    for delivery in Delivery.objects.filter(answer__startswith="\x1e").only("pk", "answer").iterator():
        (text, *_) = converted(delivery.answer)
        Delivery.objects.filter(pk=delivery.pk).update(answer="", failure_code=text["code"], failure_parameters=text["parameters"])


def _undo(apps, _editor):
    Delivery = apps.get_model("webhooks", "Delivery")
    for delivery in Delivery.objects.exclude(failure_code="").only("pk", "failure_code", "failure_parameters").iterator():
        text = english({"code": delivery.failure_code, "parameters": delivery.failure_parameters})
        Delivery.objects.filter(pk=delivery.pk).update(answer=text)


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_initial")]

    operations = [
        migrations.AddField(
            "delivery", "failure_code", models.CharField(blank=True, default="", max_length=40, verbose_name="failure")
        ),
        migrations.AddField(
            "delivery",
            "failure_parameters",
            models.JSONField(blank=True, default=dict, verbose_name="parameters of the failure"),
        ),
        migrations.RunPython(_convert, _undo),
    ]
