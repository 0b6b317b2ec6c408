"""Staged rollouts: PURE decisions and the service that performs them."""
