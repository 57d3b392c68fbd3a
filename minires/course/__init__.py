"""What the lessons stand on, and running them as a course."""
