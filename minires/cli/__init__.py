"""The command `minires`."""
