"""Results to take away: PNG, NIfTI, derived DICOM, and what each says of itself."""
