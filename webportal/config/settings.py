"""Django's settings, from the settings of ftpgate; nothing here reads the environment by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from ftpgate.settings import bracketed, derived_key, secret_keys
from webportal.config import database, email, environment, logs, passwords

FTPGATE = environment.current()
BASE_DIR = Path(__file__).resolve().parent.parent

FTPGATE_SECRET, *FTPGATE_SECRET_FALLBACKS = secret_keys(FTPGATE)
SECRET_KEY, *_earlier = (derived_key(key, "portal").hex() for key in (FTPGATE_SECRET, *FTPGATE_SECRET_FALLBACKS))
# Who was signed in still is: also before 2026-12, when the key was used as it is.
SECRET_KEY_FALLBACKS = [*_earlier, FTPGATE_SECRET, *FTPGATE_SECRET_FALLBACKS]
DEBUG = False
_https = FTPGATE.tls == "require" or (FTPGATE.portal_url or "").startswith("https:")

# ------------------------------------------------------------------------------------------------ hosts
_loopback = ["localhost", "127.0.0.1", "[::1]"]
_host = FTPGATE.portal.host
_listening = [] if _host in ("0.0.0.0", "::") else [bracketed(_host)]  # noqa: S104
_public = [bracketed(FTPGATE.public_host)] if FTPGATE.public_host else []
_site = urlsplit(FTPGATE.portal_url or "")
if _site.hostname:
    _public.append(bracketed(_site.hostname))
ALLOWED_HOSTS = list(dict.fromkeys([*FTPGATE.allowed_hosts, *_public, *_listening, *_loopback]))
# Behind a proxy that ends TLS a browser's Origin says https, and the request that arrives here does not.
CSRF_TRUSTED_ORIGINS = [
    f"https://*{host}" if host.startswith(".") else f"https://{host}"
    for host in (*FTPGATE.allowed_hosts, *_public)
    if host != "*"
]
if _site.port:
    CSRF_TRUSTED_ORIGINS.append(f"{_site.scheme}://{_site.netloc}")

# ------------------------------------------------------------------------------------------------ applications
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "ninja",  # or its documentation would be loaded from elsewhere
    "webportal.site",
    "webportal.accounts",
    "webportal.two_factor",
    "webportal.catalogue",
    "webportal.cart",
    "webportal.grants",
    "webportal.history",
    "webportal.mails",
    "webportal.shops",
    "webportal.webhooks",
    "webportal.staff",
]
MIDDLEWARE = [
    "webportal.site.requests.client_addresses",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "webportal.site.middleware.PreferencesMiddleware",
    "webportal.site.middleware.StaffTwoFactor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "webportal.accounts.sign_ins.limited_sign_ins",
    "webportal.site.requests.OddInput",
    "webportal.site.requests.refused_methods",
]
ROOT_URLCONF = "webportal.config.urls"
WSGI_APPLICATION = "webportal.config.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "webportal.site.context.header",
            ],
        },
    },
]

# ------------------------------------------------------------------------------------------------ database
DATABASES = {"default": database.configuration(FTPGATE.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ------------------------------------------------------------------------------------------------ people
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["webportal.accounts.sign_ins.LimitedSignIn", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = passwords.VALIDATORS
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

# ------------------------------------------------------------------------------------------------ browser's safety
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_AGE = 30 * 86_400  # seconds; links are shown again in the same session
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = False  # the portal itself speaks plain HTTP; whatever ends TLS before it redirects
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # client_addresses takes it from all but trusted proxies
# For the host's every port: only where the gate, which may have the same name, speaks HTTPS too.
SECURE_HSTS_SECONDS = 365 * 86_400 if _https and FTPGATE.https else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # what else there is below the shop's name, and whether by HTTPS, is not known here
    "security.W021",  # nor can it be promised to the browsers' makers
    "security.W008",  # whatever ends TLS redirects
    "security.W025",  # earlier keys are checked as they are read: FTPGATE_SECRET_KEY_FALLBACKS
]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

# ------------------------------------------------------------------------------------------------ language and time
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ru", _("Russian"))]
LOCALE_PATHS = [BASE_DIR / "locale"]

# ------------------------------------------------------------------------------------------------ files
STATIC_URL = "static/"
STATIC_ROOT = FTPGATE.state_dir / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Covers alone: what customers fetch lies in FTPGATE_MEDIA_ROOT and is never reached through Django.
MEDIA_ROOT = FTPGATE.state_dir / "covers"
# Of both, whatever the umask: the whole state folder is for its user alone.
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o600, 0o700
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # no page names the others
# Nothing is uploaded but what staff enter in the admin.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 << 20

# ------------------------------------------------------------------------------------------------ mail and logs
globals().update(email.configuration(FTPGATE.email_url))
LOGGING = logs.configuration(FTPGATE.log)
