"""Files and folders by a stranger who knows the format: wrong in every way, with checksums that hold."""
