"""What a run says of itself: logs, sample sheets, one HTML file, a model card."""
