"""Django's settings without a web site, for gates and commands: the ORM and the shop's tables, half the memory and start."""

from ftpgate.settings import derived_key, secret_keys
from webportal.config import database, email, environment, passwords

FTPGATE = environment.current()
FTPGATE_SECRET, *FTPGATE_SECRET_FALLBACKS = secret_keys(FTPGATE)
SECRET_KEY, *_earlier = (derived_key(key, "portal").hex() for key in (FTPGATE_SECRET, *FTPGATE_SECRET_FALLBACKS))
# Who was signed in still is: also before 2026-12, when the key was used as it is.
SECRET_KEY_FALLBACKS = [*_earlier, FTPGATE_SECRET, *FTPGATE_SECRET_FALLBACKS]
email.configuration(FTPGATE.email_url)  # nothing is sent from here, but a bad value stops every start, not the portal's alone
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "webportal.accounts",
    "webportal.catalogue",
    "webportal.cart",
    "webportal.grants",
    "webportal.history",
    "webportal.shops",
    "webportal.webhooks",
]
DATABASES = {"default": database.configuration(FTPGATE.database_url, statement_seconds=15, lean=True)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = passwords.VALIDATORS
MEDIA_ROOT = FTPGATE.state_dir / "covers"
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o600, 0o700
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False  # nothing here is translated; loading the catalogues costs time and memory
LOGGING_CONFIG = None  # whoever runs this has set up its own
