from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('history', '0003_proof'),
    ]

    operations = [
        migrations.AddField(
            model_name='transfer',
            name='number',
            field=models.PositiveIntegerField(db_default=1, default=1, verbose_name='number of transfers'),
        ),
    ]
