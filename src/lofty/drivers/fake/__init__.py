"""A cloud in memory, for tests: prices, several computers of one account, machines that live by a script, and faults
by name. Public as `lofty.testing`."""
