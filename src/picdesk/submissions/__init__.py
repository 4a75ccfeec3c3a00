"""What is handed in to a shared task: folders, their pictures cut to shape, and all that is wrong with them."""
