"""Values and entries to bytes and back, exactly; sealed where they are sensitive."""
