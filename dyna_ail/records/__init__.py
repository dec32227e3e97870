"""The record that a run leaves behind: its folder, tables and provenance, and how they are read back."""
