"""DICOM objects become stacks of slices: parse, group, divide, order, decode."""
