"""foretopic."""
