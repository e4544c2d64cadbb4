"""What the operating system is asked for: files that are whole or not there, interrupts, processors."""
