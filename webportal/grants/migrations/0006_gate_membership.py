from django.db import migrations, models


def _tell_stopped(apps, _editor):
    apps.get_model("grants", "Gate").objects.exclude(stopped_at=None).update(state="stopped")


class Migration(migrations.Migration):
    """Gates of earlier versions, which leave out what they do not know, may go on beside this: all has a default there."""

    dependencies = [("grants", "0005_exchange")]

    operations = [
        migrations.AddField(
            "gate", "process", models.CharField(blank=True, db_default="", default="", editable=False, max_length=160)
        ),
        migrations.AddField(
            "gate",
            "state",
            models.CharField(
                choices=[("running", "running"), ("draining", "draining"), ("stopped", "stopped")],
                db_default="running",
                default="running",
                max_length=8,
                verbose_name="state",
            ),
        ),
        migrations.AddField("gate", "heartbeat_at", models.DateTimeField(blank=True, null=True, verbose_name="last heard of")),
        migrations.AddField(
            "gate",
            "advertised",
            models.JSONField(
                blank=True, db_default=models.Value({}, models.JSONField()), default=dict, verbose_name="advertised"
            ),
        ),
        migrations.AddField("gate", "connections", models.IntegerField(db_default=0, default=0, verbose_name="connections")),
        migrations.AddField("gate", "transfers", models.IntegerField(db_default=0, default=0, verbose_name="transfers")),
        migrations.AddField("gate", "bytes_per_s", models.BigIntegerField(db_default=0, default=0, verbose_name="bytes a second")),
        migrations.AddField("gate", "busy", models.BooleanField(db_default=False, default=False, verbose_name="busy")),
        migrations.RunPython(_tell_stopped, migrations.RunPython.noop),
    ]
