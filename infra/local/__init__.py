"""What a laptop needs instead of AWS and the platforms."""
