"""A cloud on this computer, for tests: moto made strict, real machines, a network that leads nowhere else.

`with cloud.Cloudbox() as cloud:` gives a person's environment (`cloud.environ`), machines that boot and run what they
were given, and switches by name (`cloud.rules`). It needs root, for network namespaces and containers; without machines
(`machines=False`) the API alone runs on loopback, for anybody.
"""
