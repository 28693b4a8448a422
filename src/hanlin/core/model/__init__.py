"""Models. The legend of shapes, used in names and comments everywhere:

B batch, T time (queries), S source (keys), C model width, H heads, K key/value heads, D head width,
F feed-forward width, V vocabulary, E experts, L layers, N tokens (B·T).
"""
