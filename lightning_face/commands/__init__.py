"""Commands besides fit, validate, test and predict; each is the module of its name, with `main(arguments)`."""

COMMANDS = {"export": "write what a checkpoint has learned to one file"}
"""Name and summary of each."""
