"""Detections held against ground truth, by the THUMOS'14 protocol and by ActivityNet's."""
