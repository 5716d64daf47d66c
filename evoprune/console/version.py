"""The version, at the bottom of all rooms: pages and the command line show it."""

__version__ = "0.4.0"
