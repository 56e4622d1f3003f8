"""What the pages ask the warehouse."""
