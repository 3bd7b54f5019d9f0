"""Each benchmark checks that the outputs of its sides agree, then times them, and prints one JSON document last."""
