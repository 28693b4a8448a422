"""What clients may send and what comes back. Names and meanings are OpenAI's; what would change the meaning and isn't
here is refused."""
