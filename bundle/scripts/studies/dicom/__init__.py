"""DICOM in: from a folder of anything to the four phases of a study."""
