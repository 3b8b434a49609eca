"""MR series in DICOM files, through pydicom."""
