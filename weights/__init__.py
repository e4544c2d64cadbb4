"""The manifest of checkpoints and the small checkpoints that ship: importable as `featx._weights`."""
