"""`hanlin chat`: a conversation in the terminal, with a model here or elsewhere."""
