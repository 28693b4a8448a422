"""`hanlin show`: real numbers of a real prompt, for people who want to see what happens. One file for each word."""
