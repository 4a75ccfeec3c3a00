"""Two-tower encoders: each has a trunk and a head for pictures and for texts."""
