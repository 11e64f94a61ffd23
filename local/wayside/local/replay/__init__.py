"""`wayside replay`: a stored stretch of events through a fitted detector, as fast as it goes."""
