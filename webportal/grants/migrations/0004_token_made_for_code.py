from django.db import migrations, models

from webportal.core.old_texts import converted, english

_CODES = {"staff": "staff", "another device": "device"}


def _convert(apps, _editor):
    GrantToken = apps.get_model("grants", "GrantToken")
    for token in GrantToken.objects.filter(made_for__startswith="\x1e").only("pk", "made_for").iterator():
        text = "; ".join(map(english, converted(token.made_for)))
        code = _CODES.get(text, "")
        GrantToken.objects.filter(pk=token.pk).update(made_for_code=code, made_for="" if code else text[:200])


def _undo(apps, _editor):
    GrantToken = apps.get_model("grants", "GrantToken")
    for text, code in _CODES.items():
        GrantToken.objects.filter(made_for_code=code).update(made_for=text)


class Migration(migrations.Migration):
    dependencies = [("grants", "0003_hidden_bytes")]

    operations = [
        migrations.AddField(
            "granttoken",
            "made_for_code",
            models.CharField(
                blank=True,
                choices=[("staff", "staff"), ("device", "another device")],
                default="",
                max_length=10,
                verbose_name="made for",
            ),
        ),
        migrations.RunPython(_convert, _undo),
    ]
