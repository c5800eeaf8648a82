"""From what a user gives as annotations to label maps at frame indices."""
