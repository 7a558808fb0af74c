"""Commands besides fit, validate, test and predict; each is the module of its name, with `main(arguments)`."""

COMMANDS = {
    "doctor": "look on every rank for what would end a run, before it is started",
    "export": "write what a checkpoint has learned to one file",
}
"""Name and summary of each."""
