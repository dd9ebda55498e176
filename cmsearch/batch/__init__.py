"""Batch jobs: files of notes in, files of answers out, on one machine or a Ray cluster."""
