from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("grants", "0002_segments")]

    operations = [
        migrations.RenameField("segment", "concealed", "hidden_bytes"),
        migrations.AlterField("segment", "hidden_bytes", models.BigIntegerField(verbose_name="hidden")),
    ]
