"""Where experience comes from: the registry of tasks, their experts and the bundled demonstrations."""
