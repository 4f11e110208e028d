"""Methods around a method."""
