import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0002_shop_origins'),
    ]

    operations = [
        migrations.RenameModel('Answer', 'IdempotentResponse'),
        migrations.AlterField(
            model_name='idempotentresponse',
            name='shop',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='idempotent_responses', to='api.shop'),
        ),
    ]
