"""Record files (.rec): writing, reading, checking."""
