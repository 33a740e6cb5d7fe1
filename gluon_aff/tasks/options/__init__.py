"""The command line options of every task, from the parser to a run's config.yaml."""
