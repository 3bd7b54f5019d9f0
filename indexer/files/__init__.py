"""What to index: folders, patterns, lists and manifests; what is left out of them; and the files that are in them."""
