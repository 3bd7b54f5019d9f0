"""Filters: a user's expression over the columns of a collection, checked and evaluated here. No SQL engine sees it."""
