"""Files that people upload: received here, read by a child process with limits, split into one file a series."""
