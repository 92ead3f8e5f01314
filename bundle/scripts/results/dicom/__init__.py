"""A result as standard DICOM in the source study: segmentation (SEG), measurements (SR TID 1500), a page (SC)."""
