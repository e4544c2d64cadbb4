"""Everything generated: videos, small datasets in the official layouts, and clips of motion for training."""
