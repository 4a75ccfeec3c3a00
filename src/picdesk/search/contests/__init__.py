"""How index=auto chooses: candidates measured against each other, against what exact search takes, and what was found before."""
