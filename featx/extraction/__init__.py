"""Videos in, feature file out: settings, the engine, and all that runs clips through a network."""
