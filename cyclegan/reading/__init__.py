"""Readers of single file formats; `cyclegan.volume` and `cyclegan.series` are the way in."""
