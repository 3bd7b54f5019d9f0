"""What the text decoders are used for: captions and likelihoods."""
