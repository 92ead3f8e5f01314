"""What readers said about studies: masks, classes, diagnoses; versions of them, and their coded DICOM form."""
