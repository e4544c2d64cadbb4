"""What is done with clip features: recognition, compactness, pair verification, search.

A task sees feature files and datasets' protocols; videos and models are `featx`'s business.
"""
