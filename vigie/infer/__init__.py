"""From CSV files as they lie about to a declaration: what they are, and what that means."""
