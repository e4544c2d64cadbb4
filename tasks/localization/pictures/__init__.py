"""What detections look like: time lines, and a page of an evaluation."""
