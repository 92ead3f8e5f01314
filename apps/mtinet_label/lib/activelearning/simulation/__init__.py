"""Active learning played through on labelled studies: which strategy needs the fewest readings?"""
