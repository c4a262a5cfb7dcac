"""Django's settings for the portal while it serves: as the ordinary ones, but no statement may take long."""

from webportal.config import database
from webportal.config.settings import *  # noqa: F403
from webportal.config.settings import FTPGATE

DATABASES = {"default": database.configuration(FTPGATE.database_url, statement_seconds=30)}
