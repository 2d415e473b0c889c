"""What a run came to: tables, pictures, a summary of both, also long after it ended."""
