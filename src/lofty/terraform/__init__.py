"""The provider that plain `terraform` runs: protocol 6, and the resources that lofty serves through it."""
