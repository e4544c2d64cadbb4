"""Files of detections and of windows: read and written."""
