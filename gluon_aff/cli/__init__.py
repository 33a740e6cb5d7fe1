"""The command line: ``gluon-aff``, a file for each subcommand."""
