"""What somebody may send who means harm, and the small honest world that it is tried in."""
