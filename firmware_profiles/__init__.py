"""Device profiles shipped with litefleet: one TOML file per class of board."""
