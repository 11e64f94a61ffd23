"""The logger's configuration: the command line of KServe's agent and ours, and what reaches a pod beside it."""
