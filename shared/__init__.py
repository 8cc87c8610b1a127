"""storelink: what its Lambda functions share."""
