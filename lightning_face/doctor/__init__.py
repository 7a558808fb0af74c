"""What would end a run, looked for on every rank before it is started."""
