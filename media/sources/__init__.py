"""Where files come from: folders of this machine; buckets and web servers. `source_of` chooses."""
