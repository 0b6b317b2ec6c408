"""One module a migration; each is final once it was released."""
