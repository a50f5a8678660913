"""The live window as pure functions over Arrow tables: which pictures are duplicates, which items live on."""
