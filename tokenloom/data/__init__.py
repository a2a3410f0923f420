"""From raw text to rows of ids: read, clean, deduplicate, split, write as shards, pack."""
