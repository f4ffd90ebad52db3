"""The case studies of examples/, each a function from a working folder to the rows of the table."""
