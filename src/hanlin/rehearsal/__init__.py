"""`hanlin rehearse`: what a long run will need and where it would fail, found out in the first minute."""
