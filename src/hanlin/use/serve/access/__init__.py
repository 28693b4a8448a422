"""Who may ask, how much at once, and how a connection has to behave."""
