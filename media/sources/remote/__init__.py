"""Files in buckets and on web servers: one source, and a store for each protocol."""
