"""The lessons: each file is a script, to run, to read and to step through. `minires lessons` lists them."""
