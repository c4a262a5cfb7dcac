"""What changes carts and grants, with what follows in the same transaction: checkout, completion, renewal, revocation, purge."""
