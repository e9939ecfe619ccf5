"""Values: what was asked for, what is, and what it costs. Nothing here reads a file or a clock."""
