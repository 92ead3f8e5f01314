"""The words of the field, shared by every room: phases, classes, Study, Result, enhancement, errors."""
