"""Models at work on one device: workers that own interpreters, the pool that keeps them alive, and the SDK."""
