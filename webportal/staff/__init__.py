"""The staff's pages: the admin, the dashboard, and management commands."""
