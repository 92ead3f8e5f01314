"""Four-phase studies as single cases: from a folder, or from a DICOMweb server."""
