"""Other shops: their API keys, their customers, and answers kept for repeated requests. Its app label and tables are `api`."""
