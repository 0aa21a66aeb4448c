"""What can be found out about edge nodes on Sparkplug: births, drafts of their points."""
