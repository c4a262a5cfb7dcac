"""Django's tests, set up as those of the portal are."""

from tests.portal.conftest import (  # noqa: F401
    _nobody_has_tried_before,
    _passwords_that_are_quickly_checked,
    _static_files_as_they_are,
    django_db_setup,
    portal_database,
)
