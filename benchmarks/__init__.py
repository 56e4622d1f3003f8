"""Side by side with peers and with the limit: `make bench`, or `python -m benchmarks --help`."""
