"""Checkpoints: files of weights to models and back, what is registered and where, other libraries' layouts."""
