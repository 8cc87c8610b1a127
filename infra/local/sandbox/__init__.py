"""Stand-ins for the platforms' APIs, one file each, for the local stack, the tests and the benchmarks."""
