from django.db import migrations, models

from webportal.core.old_texts import converted, english


def _convert(apps, _editor):
    ImportJob, FileReport = (apps.get_model("catalogue", name) for name in ("ImportJob", "FileReport"))
    for job in ImportJob.objects.exclude(message="").only("pk", "message").iterator():
        ImportJob.objects.filter(pk=job.pk).update(notes=converted(job.message))
    for report in FileReport.objects.only("pk", "reason").iterator():
        (text, *_) = converted(report.reason or "-")
        FileReport.objects.filter(pk=report.pk).update(reason_code=text["code"], reason_parameters=text["parameters"])


def _undo(apps, _editor):
    ImportJob, FileReport = (apps.get_model("catalogue", name) for name in ("ImportJob", "FileReport"))
    for job in ImportJob.objects.only("pk", "notes").iterator():
        ImportJob.objects.filter(pk=job.pk).update(message="; ".join(map(english, job.notes)))
    for report in FileReport.objects.only("pk", "reason_code", "reason_parameters").iterator():
        text = english({"code": report.reason_code, "parameters": report.reason_parameters})
        FileReport.objects.filter(pk=report.pk).update(reason=text[:500])


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0004_file_identity")]

    operations = [
        migrations.AddField("importjob", "notes", models.JSONField(blank=True, default=list, verbose_name="notes")),
        migrations.AddField(
            "filereport", "reason_code", models.CharField(default="", max_length=40, verbose_name="reason"), preserve_default=False
        ),
        migrations.AddField(
            "filereport", "reason_parameters", models.JSONField(blank=True, default=dict, verbose_name="parameters of the reason")
        ),
        migrations.RunPython(_convert, _undo),
        migrations.AlterField("filereport", "reason", models.CharField(default="", max_length=500, verbose_name="reason")),
        migrations.AlterField("importjob", "message", models.TextField(blank=True, default="", verbose_name="message")),
        migrations.RemoveField("importjob", "message"),
        migrations.RemoveField("filereport", "reason"),
    ]
