"""How a fresh machine of a cloud gets the agent: `bundle` packs it here, `boot` unpacks and starts it there."""
