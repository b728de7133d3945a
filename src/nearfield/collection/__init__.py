"""The Collection: rows, texts, metadata, vectors and plans in one folder, durable."""
