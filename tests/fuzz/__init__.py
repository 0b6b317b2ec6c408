"""Damaged and hostile files for everything of the packager that reads one; see ``python -m tests.fuzz --help``."""
