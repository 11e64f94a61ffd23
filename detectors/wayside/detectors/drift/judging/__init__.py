"""What is said of a window: its test, its share of the budget, and the evidence."""
