"""This computer as a cloud of one machine: the embedded default, and the pattern for every other driver."""
