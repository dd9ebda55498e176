"""A collection of notes that can be searched: by words, by code, by another note."""
