"""One module a command: `run` is its signature, its help and what it does; `doorward.main` has the table."""
