"""Where recipes become objects, and where the folders that do not know each other are put to work together."""
