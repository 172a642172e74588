"""Positional encodings, one file each; a transform and the module that embeds what it computes."""
