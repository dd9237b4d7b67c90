"""A network as a Python file of plain PyTorch, to rebuild it where nothing of this project is installed."""
