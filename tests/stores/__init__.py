"""Object stores on loopback that tests and benchmarks speak to; each a context manager with `url` and `environ`."""
