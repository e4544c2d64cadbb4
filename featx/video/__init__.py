"""Videos: where they are, their frames, their clips, and the processes that decode them. No torch in this room."""
