"""What runs in a converter's own environment: nothing here imports litefleet, which is not installed there.

The modules are started by ``__main__.py`` as a child process, one job each. They import their siblings relatively,
the frameworks absolutely, and beyond those numpy alone.
"""
