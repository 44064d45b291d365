"""The commands of the command line, each an ordinary function in a file or folder of its own."""
