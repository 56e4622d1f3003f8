"""The upstreams of the flood use case on loopback: a rainfall-runoff simulation behind their own APIs."""
