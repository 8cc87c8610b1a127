"""The registry: one line per platform."""
