"""Example of a plug-in for darts-nas."""
