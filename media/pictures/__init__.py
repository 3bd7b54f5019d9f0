"""Pictures of all formats: from encoded bytes to upright pixels in sRGB, with metadata; also animations and motion photos."""
