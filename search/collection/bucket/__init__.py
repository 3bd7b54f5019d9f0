"""A collection in a bucket, by a working copy on this machine: `place` is the way in."""
