"""What a request may ask for, and who may ask."""
