"""Spark as the engine of extract, transform and features: session, dialect, files."""
