"""What runs a network: clips in, rows out."""
