"""GGUF, the file of llama.cpp and Ollama.

`container.py` writes it, `reader.py` reads it; `architectures/` says how each of llama.cpp's models is one of our
families; `loading.py` makes a model of a file, `writing.py` a file of a model.
"""

from hanlin.core.model.gguf.container import Entry, Value, write

__all__ = ["Entry", "Value", "write"]
