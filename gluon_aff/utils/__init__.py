"""Files, console, downloads: what every room needs and no room owns."""
