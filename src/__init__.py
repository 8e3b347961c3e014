"""Doors, so that the guide's commands work from a checkout; the code is in ``vigie``."""
