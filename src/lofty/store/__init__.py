"""A task's files and records in an object store: one prefix, no database."""
