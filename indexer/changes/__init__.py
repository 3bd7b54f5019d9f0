"""What changed since the last run: files by their bytes, moved files and folders, folders that are absent."""
