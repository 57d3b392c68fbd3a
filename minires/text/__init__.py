"""What is printed or written: progress, tables, numbers, files."""
