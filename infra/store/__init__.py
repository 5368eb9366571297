"""A results folder: what a row is, shards and plans, files on a disk or in an object store."""
