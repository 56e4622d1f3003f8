"""The upstreams of the use cases on loopback, simulated: what they tell is invented, how they tell it is not."""
