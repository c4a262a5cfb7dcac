"""The gate for other shops: their keys, their customers by their own names for them, and the REST API."""
