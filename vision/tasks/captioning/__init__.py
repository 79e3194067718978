"""Grounded captioning: a sentence for a picture, and the box that each of its things came from."""
