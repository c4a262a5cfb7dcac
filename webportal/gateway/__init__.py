"""The gate's side of the portal: the `Bridge` over the ORM, and what running gates say of themselves."""
