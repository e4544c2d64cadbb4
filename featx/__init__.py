"""featx: clip features from video."""
