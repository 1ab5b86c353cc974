"""The YAML files of the plug-in."""
