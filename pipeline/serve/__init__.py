"""Answer queries from one generation: a picture in, items with all their offers out."""
