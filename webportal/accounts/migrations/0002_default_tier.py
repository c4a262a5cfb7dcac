from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def make_default_tier(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    tier = apps.get_model("accounts", "Tier")
    tier.objects.using(schema_editor.connection.alias).get_or_create(name="default", defaults={"rate": 0, "connections": 64})


class Migration(migrations.Migration):
    dependencies = (("accounts", "0001_initial"),)
    operations = (migrations.RunPython(make_default_tier, migrations.RunPython.noop),)
