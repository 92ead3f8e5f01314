"""The routes of the server that MONAI Label does not have."""
