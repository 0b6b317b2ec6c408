"""The agent as a system service: what it tells systemd, how it logs to the journal, and its unit."""
