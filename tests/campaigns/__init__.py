"""Long checks that are run by hand and leave a record of what was seen."""
