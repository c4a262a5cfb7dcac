"""What threads of the portal and worker processes do: webhooks, mails, imports."""
