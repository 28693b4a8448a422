"""Other programs that write, behind our own server."""
