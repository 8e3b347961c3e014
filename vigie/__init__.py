"""vigie turns raw CSV exports into an honest early warning."""

__version__ = "0.1.0"
