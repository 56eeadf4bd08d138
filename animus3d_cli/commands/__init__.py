"""One file a command: parse, import the stage, build its settings, run it."""
