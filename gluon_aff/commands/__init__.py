"""The subcommands of ``gluon-aff``, a file for each subject, each with ``add_commands(commands)``."""
