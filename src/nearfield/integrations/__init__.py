"""Collections in other ecosystems; each module needs the extra of its name, imported when the module is."""
