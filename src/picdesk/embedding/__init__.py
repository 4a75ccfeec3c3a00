"""The encode loop and the store that keeps what it made."""
