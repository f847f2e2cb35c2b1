"""Slices whose truth is known: label maps, phantoms, signal equations, lesions, augmentation."""
