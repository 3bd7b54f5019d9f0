"""What a model knows: figures that the model card and the log report."""
