"""The prediction service beside others that serve the same model, under the same load on loopback."""
