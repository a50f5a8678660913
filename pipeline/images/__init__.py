"""Image decoding, quality measures and perceptual hashes: pure functions over bytes and arrays."""
