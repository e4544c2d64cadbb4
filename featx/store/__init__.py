"""The feature file: schema, reader, writer, merge; the journal in which rows wait for it."""
