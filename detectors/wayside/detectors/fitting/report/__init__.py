"""What a fit says of itself: figures as JSON, and a page of them for people."""
