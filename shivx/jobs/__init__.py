"""Long work in processes of its own: one at a time for each thing, watched and cancelled from anywhere."""
