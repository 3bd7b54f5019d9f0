"""What a model understands: each kind of picture, the words of a query, and pictures of any shape."""
