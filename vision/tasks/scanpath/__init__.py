"""Scanpath prediction: which objects of a picture are looked at, in which order, for how long."""
