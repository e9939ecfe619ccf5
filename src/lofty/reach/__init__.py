"""How a browser gets to a workspace."""
