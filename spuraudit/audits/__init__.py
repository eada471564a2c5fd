"""What is asked, and what the answers mean: one file per audit. The only room that knows papers."""
