"""A collection in a bucket, by a working copy on this machine: `search.collection.place` is the way in."""
